"""OFREP, by which OpenFeature's providers in any language ask for values of flags: ``/ofrep/v1``.

https://github.com/open-feature/protocol (0.3.0). Whoever has an SDK key or a client key may ask, for the environment of
that key.
"""

from fader_server.api.ofrep.door import Ofrep

__all__ = ["Ofrep"]
