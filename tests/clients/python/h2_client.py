# SPDX-License-Identifier: GPL-3.0-or-later
"""h2 over a socket: a strict state machine of HTTP/2 that raises on whatever breaks the protocol."""
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions

import plan


class Stream:
    def __init__(self, request):
        self.request = request
        self.unsent = request.body
        self.head = None
        self.body = b""
        self.over = False


class Client:
    def __init__(self, base, tls):
        tls.set_alpn_protocols(["h2"])
        self.authority = base.netloc
        self.socket = tls.wrap_socket(socket.create_connection((base.hostname, base.port), 30), server_hostname=base.hostname)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.streams = {}
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def open(self, request):
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(":method", request.method), (":scheme", "https"), (":authority", self.authority), (":path", request.path)]
        fields += [(name.lower(), value) for name, value in request.fields]
        if request.body:
            fields.append(("content-length", str(len(request.body))))
        self.h2.send_headers(stream_id, fields, end_stream=not request.body)
        self.streams[stream_id] = Stream(request)
        self.send_bodies()

    def send_bodies(self):
        for stream_id, stream in self.streams.items():
            while stream.unsent and not stream.over:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if room <= 0:
                    break
                part, stream.unsent = stream.unsent[:room], stream.unsent[room:]
                self.h2.send_data(stream_id, part, end_stream=not stream.unsent)
        self.flush()

    def wait(self):
        """Until every stream is over."""
        while not all(stream.over for stream in self.streams.values()):
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionError("the connection ended")
            for event in self.h2.receive_data(received):
                self.handle(event)
            self.send_bodies()
        self.streams.clear()

    def handle(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            raise ConnectionError(f"GOAWAY {event.error_code}")
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.head = event.headers
            if stream.request.mode == "cancel":
                self.h2.reset_stream(event.stream_id, error_code=8)
                self.finish(stream)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.finish(stream)
        elif isinstance(event, h2.events.StreamReset) and not stream.over:
            stream.over = True
            plan.failure(stream.request.name, ConnectionError(f"RST_STREAM {event.error_code}"))

    @staticmethod
    def finish(stream):
        if stream.over:
            return
        stream.over = True
        fields = [(name, value) for name, value in stream.head if not name.startswith(":")]
        body = b"" if stream.request.mode == "cancel" else stream.body
        plan.answer(stream.request.name, "2", dict(stream.head)[":status"], body, fields)


def main():
    requests, base, tls = plan.arguments()
    client = Client(base, tls)
    for request in requests:
        try:
            for _ in range(plan.AT_ONCE if request.mode == "parallel" else 1):
                client.open(request)
            client.wait()
        except (h2.exceptions.ProtocolError, OSError) as error:
            plan.failure(request.name, error)
            client = Client(base, tls)


main()
