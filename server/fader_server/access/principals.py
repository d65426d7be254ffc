"""Who is asking, and what they may do: values, and the rules about them."""

from typing import Final

from msgspec import Struct

from fader_server.storage.records import KeyKind, Role

_RANK: Final[dict[Role, int]] = {"viewer": 0, "editor": 1, "admin": 2}


class SdkPrincipal(Struct, frozen=True):
    """A process that reads the flags of one environment; or, with a ``client`` key, a browser or an app that asks what
    they evaluate to."""

    key_id: str
    project: str
    environment: str
    kind: KeyKind = "server"


class AdminPrincipal(Struct, frozen=True):
    """A person or a pipeline. No ``projects`` or no ``environments`` means all of them."""

    token_id: str
    name: str
    role: Role
    projects: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    def is_at_least(self, role: Role) -> bool:
        """Whether the role includes this one."""
        return _RANK[self.role] >= _RANK[role]

    def may_enter_project(self, project: str) -> bool:
        """Whether this project is within the token's scope."""
        return not self.projects or project in self.projects

    def may_enter_environment(self, environment: str) -> bool:
        """Whether environments of this name are within the token's scope."""
        return not self.environments or environment in self.environments
