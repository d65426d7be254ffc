"""Keys, tokens and roles: who is asking, and may they."""

from fader_server.access.authentication import Access
from fader_server.access.initial import ensure_initial_credentials, has_admin_token
from fader_server.access.principals import AdminPrincipal, SdkPrincipal
from fader_server.errors import Forbidden, Unauthorized

__all__ = [
    "Access",
    "AdminPrincipal",
    "Forbidden",
    "SdkPrincipal",
    "Unauthorized",
    "ensure_initial_credentials",
    "has_admin_token",
]
