"""fast-feature with flags in its memory: a port and a file of flags are the arguments.

A flag in the file is ``{"key", "variants", "default_variant", "targeting"}``, as fast-feature has them.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvicorn
from fast_feature.core.flag import Flag
from fast_feature.ofrep import OfrepRouter
from fast_feature.storage.inmemory import InMemoryFlagRepository
from fastapi import FastAPI

repository = InMemoryFlagRepository()
for flag in json.loads(Path(sys.argv[2]).read_bytes()):
    asyncio.run(repository.create(Flag(**flag)))
app = FastAPI()
app.include_router(OfrepRouter.build(repository))
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
