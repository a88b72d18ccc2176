"""How thoroughly properties are tried: `HYPOTHESIS_PROFILE=deep` takes minutes, the default seconds."""

import os

from hypothesis import settings

# no deadline: a busy machine is no defect
settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
