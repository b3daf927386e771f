"""A stock gRPC client of the greeter's proto, which it compiles when it starts.

    pip install grpcio grpcio-tools
    python greeter_proto.py 127.0.0.1:50051 TOKEN NAME TIMES
"""

import pathlib
import sys

import grpc

# The compiler finds it by its name, below a folder of `sys.path`.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "greeter"))
protos, services = grpc.protos_and_services("greeter.proto")


def main(address: str, token: str, name: str, times: str) -> None:
    with grpc.insecure_channel(address) as channel:
        greeter = services.GreeterStub(channel)
        request = protos.HelloRequest(name=name, times=int(times))
        metadata = [("authorization", f"Bearer {token}")]
        for reply in greeter.SayHello(request, metadata=metadata, timeout=30):
            print(reply.text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
