"""What all tests share."""

from hypothesis import settings

pytest_plugins = ["tests.databases"]

# The machine that runs the tests may be busy: how long one example took says nothing.
settings.register_profile("zoopipe", deadline=None, print_blob=True)
settings.load_profile("zoopipe")
