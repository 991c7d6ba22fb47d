#!/usr/bin/env python3
"""A TCP proxy between router and broker that simulates faults of the network.

    proxy.py TARGET_PORT

prints two ports: connections to the first one are forwarded to the target; the second one accepts one mode per connection, as a line:

    pass          forwards everything
    cut           closes connections and refuses new ones
    half-open     keeps connections open and discards data; for good, because a stream cannot continue after lost bytes
    delay MS      delays data
    rate BYTES    limits the bytes per second in each direction, for all connections together
    loss PERCENT  delays a share of the data, and all data behind it, by 200 ms, as TCP does after a retransmission timeout
"""

import asyncio
import random
import sys

RETRANSMISSION = 0.2


class Network:
    def __init__(self, target):
        self.target = target
        self.mode, self.value = "pass", 0
        self.connections = set()
        self.free_at = {"up": 0.0, "down": 0.0}

    def set(self, mode, value):
        self.mode, self.value = mode, value
        if mode == "cut":
            for writer in list(self.connections):
                writer.transport.abort()

    async def accept(self, reader, writer):
        if self.mode == "cut":
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, up_writer}
        self.connections |= both
        connection = {"discards": False}
        try:
            await asyncio.gather(
                self.forward(reader, up_writer, "up", connection), self.forward(up_reader, writer, "down", connection)
            )
        finally:
            self.connections -= both
            for end in both:
                end.transport.abort()

    async def forward(self, reader, writer, direction, connection):
        """Forwards data in order; the end of one direction ends the connection."""
        loop = asyncio.get_running_loop()
        chunks = asyncio.Queue(maxsize=64)
        sender = asyncio.ensure_future(self.send(chunks, writer, direction, connection))
        try:
            while data := await reader.read(1024 if self.mode == "rate" else 65536):
                await chunks.put((loop.time(), data))
        except OSError:
            pass
        await chunks.put((loop.time(), b""))
        await sender

    async def send(self, chunks, writer, direction, connection):
        loop = asyncio.get_running_loop()
        while True:
            received_at, data = await chunks.get()
            mode, value = self.mode, self.value
            wait = 0
            if mode == "delay":
                wait = received_at + value / 1000 - loop.time()
            elif mode == "loss" and random.random() < value / 100:
                wait = RETRANSMISSION
            elif mode == "rate":
                # One queue for all connections: a chunk is sent after those before it.
                self.free_at[direction] = max(self.free_at[direction], loop.time()) + len(data) / value
                wait = self.free_at[direction] - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if self.mode == "half-open":
                connection["discards"] = True
            if connection["discards"]:
                # The end of the stream is discarded too.
                continue
            if not data:
                writer.transport.abort() if writer.transport.is_closing() else writer.close()
                return
            try:
                writer.write(data)
                await writer.drain()
            except OSError:
                continue

    async def control(self, reader, writer):
        mode, *value = (await reader.readline()).decode().split()
        self.set(mode, float(value[0]) if value else 0)
        writer.write(b"ok\n")
        writer.close()


async def main():
    network = Network(int(sys.argv[1]))
    data = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    control = await asyncio.start_server(network.control, "127.0.0.1", 0)
    print(data.sockets[0].getsockname()[1], control.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(data.serve_forever(), control.serve_forever())


asyncio.run(main())
