"""A stock gRPC client without any proto: bytes to an actor, and its answers line by line.

    pip install grpcio
    python greeter_raw.py 127.0.0.1:50051 TOKEN NAME [METHOD]
"""

import sys

import grpc


def main(address: str, token: str, name: str, method: str = "/helloworld.Greeter/SayHello") -> None:
    with grpc.insecure_channel(address) as channel:
        # No serializers: what is sent and what comes are bytes.
        say_hello = channel.unary_stream(method)
        metadata = [("authorization", f"Bearer {token}")]
        lines = say_hello(name.encode(), metadata=metadata, timeout=30)
        try:
            for line in lines:
                print(line.decode(), flush=True)
        except grpc.RpcError as error:
            handled = dict(error.trailing_metadata()).get("estafette-handled")
            sys.exit(f"{error.code().name}: {error.details()} (handled: {handled})")


if __name__ == "__main__":
    main(*sys.argv[1:])
