"""A client of this folder's installation, signed in as its first user."""

from __future__ import annotations

from pipeline3d.client import Pipeline3dClient
from pipeline3d.errors import ServerFailure
from pipeline3d.installation import Installation


def sign_in(installation: Installation) -> Pipeline3dClient:
    """A client that is signed in as the first user. Raises ServerFailure where nothing was ever started."""
    if installation.state is None:
        raise ServerFailure("Nothing runs here yet.", hint="Run `make up` first.")
    client = Pipeline3dClient(installation.api_address)
    client.login(installation.settings.first_superuser_username, installation.password)
    return client
