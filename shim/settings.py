"""A settings source for pydantic-settings: each field's value as the shim would give it. Nothing else imports this.

class Settings(BaseSettings):
    db_password: SecretStr

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, env_settings, **others):
        return init_settings, SecretsSource(settings_cls), env_settings
"""

from collections.abc import Iterator, Mapping

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from shim.application import SecretNotFound, get_secret


class SecretsSource(EnvSettingsSource):
    """Gives what `get_secret` finds for a field; prefix, aliases, nesting and JSON are those of the environment source.

    A field's key is its variable's name, in upper case unless names are case-sensitive: `db_password` is what
    DB_PASSWORD_FILE, a file in a secrets root or DB_PASSWORD holds. What is not there is left to the other sources.

    Raises:
        SettingsError: a file that should hold a value cannot be used.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.env_vars = _Found(self.env_vars, is_exact=bool(self.case_sensitive))


class _Found(Mapping[str, str | None]):
    """What can be looked up: the variables that are set, and whatever a file is for."""

    def __init__(self, variables: Mapping[str, str | None], *, is_exact: bool) -> None:
        self.variables = variables
        self.is_exact = is_exact

    def __getitem__(self, name: str) -> str | None:
        try:
            value = get_secret(name if self.is_exact else name.upper())
        except SecretNotFound as error:  # a KeyError, which would count as "not there"
            raise SettingsError(str(error)) from None
        return value or self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)
