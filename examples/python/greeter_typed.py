"""A stock gRPC client of the proto of `examples/typed_grpc`, which it compiles when it starts.

    pip install grpcio grpcio-tools googleapis-common-protos
    python greeter_typed.py 127.0.0.1:50051 TOKEN
"""

import pathlib
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2

# The compiler finds it by its name, below a folder of `sys.path`.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "typed_grpc" / "proto"))
protos, services = grpc.protos_and_services("greeter.proto")


def reason(error: grpc.RpcError) -> str:
    """What the details say, beside the code."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    return f"{info.reason}, handled: {trailers['estafette-handled']}"


def main(address: str, token: str) -> None:
    with grpc.insecure_channel(address) as channel:
        greeter = services.GreeterStub(channel)
        sent = {"metadata": [("authorization", f"Bearer {token}")], "timeout": 30}

        reply = greeter.Greet(protos.GreetRequest(name="Ada", language="LANGUAGE_GERMAN"), **sent)
        assert reply.at.seconds > 0
        print("greeted:", reply.text)

        lines = list(greeter.Lines(protos.LinesRequest(name="Ada", times=1000), **sent))
        print(f"{len(lines)} lines, the last: {lines[-1].text}")

        guests = [
            protos.Guest(name="Ada", nights=3, badge=b"\x00\xff"),
            protos.Guest(name="Grace", room="7"),
        ]
        enrolled = greeter.Enrol(iter(guests), **sent)
        print(f"{enrolled.guests} guests: {sorted(enrolled.nights.items())}")

        words = (protos.Word(text=text) for text in ["one", "two"])
        print("said:", [said.text for said in greeter.Talk(words, **sent)])

        try:
            greeter.Greet(protos.GreetRequest(), **sent)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()} ({reason(error)})")


if __name__ == "__main__":
    main(*sys.argv[1:])
