"""POST the lines of a file, 64 at once, for a comparison in benches/whole.rs."""

import asyncio
import sys

import aiohttp


async def main(url, path):
    with open(path, encoding="utf-8") as file:
        bodies = iter(file.read().splitlines())
    connector = aiohttp.TCPConnector(limit=64)
    headers = {"content-type": "application/json", "apikey": "none"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def work():
            for body in bodies:
                async with session.post(url + "/api/v2/customer", data=body.encode()) as answer:
                    assert answer.status == 200, answer.status
                    await answer.read()

        await asyncio.gather(*(work() for _ in range(64)))


asyncio.run(main(sys.argv[1].rstrip("/"), sys.argv[2]))
