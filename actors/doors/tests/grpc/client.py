"""A stock client that does what a test asks for, and prints what comes of it."""

import pathlib
import sys
import threading

import grpc
from google.rpc import error_details_pb2, status_pb2


def said(error):
    """The code of an error, whether it was handled, and its reason."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    reason = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(reason)
    return f"{error.code().name} {trailers.get('estafette-handled')} {reason.reason}".strip()


def ways(channel, metadata):
    echo = channel.unary_unary("/test.All/Echo")
    answer, call = echo.with_call(b"x" * 300_000, metadata=metadata)
    handled = dict(call.trailing_metadata())["estafette-handled"]
    print(f"ask: {len(answer)} bytes, handled {handled}")
    order = channel.unary_unary("/shop.Shop/Order")
    for text in [b'{"article":"tea","pieces":2}', b'{"article":""}']:
        print("json:", order(text, metadata=metadata).decode())
    collect = channel.stream_unary("/test.All/Collect")
    print("upload:", collect(iter([b"one", b"two", b"three"]), metadata=metadata).decode())

    # The actor has enough before the requests have an end.
    def endless():
        yield b"one"
        yield b"enough"
        threading.Event().wait()

    print("upload, enough:", collect(endless(), metadata=metadata).decode())
    talk = channel.stream_stream("/helloworld.Greeter/Talk")
    replied = threading.Semaphore(0)

    def names():
        yield b"Ada"
        for _ in range(3):
            replied.acquire()
        yield b"Grace"

    for number, line in enumerate(talk(names(), metadata=metadata)):
        replied.release()
        if number % 3 == 0:
            print("open:", line.decode())
    print("open: end")


def errors(channel, metadata):
    def fails(what, method, body, metadata=metadata, kind=channel.unary_unary):
        try:
            answer = kind(method)(body, metadata=metadata)
            print(f"{what}: no error, but {list(answer)}")
        except grpc.RpcError as error:
            print(f"{what}: {said(error)}")

    fails("no such name", "/test.All/Nobody", b"")
    fails("no such method", "/test.All/None", b"")
    fails("wrong way", "/test.All/Told", b"")
    fails("no json", "/shop.Shop/Order", b"{")
    fails("no such field", "/shop.Shop/Order", b'{"articel":"tea"}')
    fails("died", "/shop.Shop/Order", b'{"article":"bomb"}')
    fails("away", "/test.All/Away", b"")
    fails("too large", "/test.All/Echo", b"x" * (17 << 20))
    fails("no token", "/test.All/Echo", b"", metadata=[])
    fails("no right", "/test.All/Forbidden", b"")


def gone(channel, metadata):
    """One call after the other, each ended when the test has seen it begin."""
    echo = channel.unary_unary("/test.All/Echo")
    try:
        echo(b"never", metadata=metadata, timeout=2)
    except grpc.RpcError as error:
        sys.stdin.readline()
        print("deadline:", error.code().name, handled(error), flush=True)
    hello = channel.unary_stream("/helloworld.Greeter/SayHello")
    try:
        for _ in hello(b"quiet", metadata=metadata, timeout=2):
            pass
    except grpc.RpcError as error:
        sys.stdin.readline()
        print("stream:", error.code().name, handled(error), flush=True)
    call = echo.future(b"never", metadata=metadata)
    sys.stdin.readline()
    call.cancel()
    print("cancelled:", call.code().name, flush=True)
    begun = threading.Event()

    def half():
        yield b"half"
        begun.wait()

    call = channel.stream_unary("/test.All/Collect").future(half(), metadata=metadata)
    sys.stdin.readline()
    call.cancel()
    print("upload cancelled:", call.code().name, flush=True)
    begun.set()


def protos(channel, metadata):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    messages, services = grpc.protos_and_services("shop.proto")
    shop, counter = services.ShopStub(channel), services.CounterStub(channel)
    print("unary:", shop.Buy(messages.Order(article="tea", pieces=2), metadata=metadata).cents)
    try:
        shop.Buy(messages.Order(), metadata=metadata)
    except grpc.RpcError as error:
        code, rest = said(error).split(" ", 1)
        print("its own error:", code, error.details(), rest)
    try:
        channel.unary_unary("/shop.Shop/Buy")(b"\xff\xff", metadata=metadata)
    except grpc.RpcError as error:
        print("wrong bytes:", said(error))
    numbers = [messages.Add(number=2**64 - 2), messages.Add(number=1)]
    print("stream of requests:", counter.TotalOf(iter(numbers), metadata=metadata).sum)
    for answer in counter.Sums(iter([messages.Add(number=n) for n in (1, 2)]), metadata=metadata):
        print("both:", answer.sum)


def named(channel, metadata):
    """Our own service: any actor that the token leads to, by its name."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "proto"))
    messages, services = grpc.protos_and_services("estafette/v1/node.proto")
    node = services.NodeServiceStub(channel)
    order = messages.Target(actor="paris/shop", type="shop.Order")

    def raw(name):
        return messages.Target(actor=f"paris/{name}")

    def json(text):
        return messages.Payload(json=text)

    def bytes_of(text):
        return messages.Payload(raw=text)

    request = messages.AskRequest(target=order, payload=json('{"article":"tea"}'))
    print("ask:", node.Ask(request, metadata=metadata).payload.json)
    request = messages.AskRequest(target=raw("echo"), payload=bytes_of(b"bytes"))
    print("ask:", node.Ask(request, metadata=metadata).payload.raw.decode())
    request = messages.TellRequest(target=order, payload=json('{"article":"told"}'))
    print("tell:", node.Tell(request, metadata=metadata) == messages.TellResponse())
    request = messages.DeliverRequest(target=order, payload=json('{"article":"sent"}'))
    ids = set()
    for answer in node.Deliver(request, metadata=metadata):
        ids.add(answer.id)
        print("deliver:", messages.State.Name(answer.state))
    print("ids:", len(ids))
    request = messages.DownloadRequest(target=raw("greeter"), payload=bytes_of(b"Ada"))
    for answer in node.Download(request, metadata=metadata):
        print("download:", answer.payload.raw.decode())
    # The first request may say where the others go, or have the first of them.
    target = messages.UploadRequest(target=raw("collector"))
    parts = [messages.UploadRequest(payload=bytes_of(text)) for text in (b"one", b"two")]
    print("upload:", node.Upload(iter([target, *parts]), metadata=metadata).payload.raw.decode())
    parts[0].target.actor = "paris/collector"
    print("upload:", node.Upload(iter(parts), metadata=metadata).payload.raw.decode())
    numbers = [messages.OpenRequest(payload=json(f'{{"number":{n}}}')) for n in (1, 2)]
    numbers[0].target.CopyFrom(messages.Target(actor="paris/counter", type="shop.Add", version=1))
    for answer in node.Open(iter(numbers), metadata=metadata):
        print("open:", answer.payload.json)
    wrong = [
        ("no target", messages.AskRequest(payload=json("{}"))),
        ("no actor", messages.AskRequest(target=messages.Target(actor="paris"))),
        ("no payload", messages.AskRequest(target=order)),
        ("no json", messages.AskRequest(target=order, payload=json("{"))),
        ("raw for json", messages.AskRequest(target=order, payload=bytes_of(b"{}"))),
        ("no right", messages.AskRequest(target=messages.Target(actor="lille/x"))),
        ("no name", messages.AskRequest(target=raw("nobody"), payload=bytes_of(b""))),
    ]
    for what, request in wrong:
        try:
            print(f"{what}: no error, but", node.Ask(request, metadata=metadata))
        except grpc.RpcError as error:
            print(f"{what}:", said(error))


def contents(channel, metadata):
    """Content for an inbox, and what becomes of it; what arrived, and its content; a watch."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "proto"))
    messages, services = grpc.protos_and_services("estafette/v1/node.proto")
    node = services.NodeServiceStub(channel)

    def fails(what, call, *requests):
        try:
            answer = call(*requests, metadata=metadata)
            print(f"{what}: no error, but", list(answer) if hasattr(answer, "code") else answer)
        except grpc.RpcError as error:
            print(f"{what}:", said(error))

    for who in ("paris", "paris/shop"):
        watch = node.Watch(messages.WatchRequest(who=who), metadata=metadata)
        # How it is, is known as soon as the other node has said so.
        next(told for told in watch if told.presence == messages.PRESENCE_UP)
        print("watch:", who, "is there")
        watch.cancel()
    watch = node.Watch(messages.WatchRequest(who="paris/nobody"), metadata=metadata)
    print("watch:", next(told.reason for told in watch if told.reason == "NO_SUCH_NAME"))
    fails("no right", lambda *a, **k: next(node.Watch(*a, **k)), messages.WatchRequest(who="lille"))

    whole = bytes(range(256)) * 8192

    def parts(name, key="", length=None, content=whole, size=1 << 20):
        parcel = messages.Parcel(inbox="paris/files", name=name, key=key, length=length)
        yield messages.SendRequest(parcel=parcel, content=content[:100])
        for at in range(100, len(content), size):
            yield messages.SendRequest(content=content[at : at + size])

    def name_of(state):
        return messages.State.Name(state)

    states = [told.transfer for told in node.Send(parts("one", "k", len(whole)), metadata=metadata)]
    print("send:", *(name_of(told.state) for told in states))
    last = states[-1]
    print("send:", last.inbox, last.name, last.length, len(last.blake3))
    again = next(iter(node.Send(parts("one", "k"), metadata=metadata)))
    print("again:", again.transfer.id == last.id)
    follow = messages.FollowRequest(id=last.id, after=messages.STATE_STORED)
    states = [told.transfer for told in node.Follow(follow, metadata=metadata)]
    print("follow:", *(name_of(told.state) for told in states))
    for name in ("two", "three"):
        list(node.Send(parts(name, content=b"short"), metadata=metadata))
    names, token = [], ""
    while True:
        page = messages.OutboxRequest(page_size=2, page_token=token)
        page = node.Outbox(page, metadata=metadata)
        names.append(len(page.transfers))
        token = page.next_page_token
        if not token:
            break
    print("outbox:", *names)

    listed = messages.ArrivalsRequest(inbox="files", processed=False)
    arrival = node.Arrivals(listed, metadata=metadata).arrivals[0]
    print("arrival:", arrival.name, getattr(arrival, "from"), arrival.length, arrival.processed)

    def received(**part):
        request = messages.ReceiveRequest(inbox="files", id=arrival.id, **part)
        answers = list(node.Receive(request, metadata=metadata))
        return answers[0].arrival.name, b"".join(answer.content for answer in answers)

    name, content = received()
    print("receive:", name, len(content), content == b"0123456789" * 30_000)
    print("receive:", received(offset=299_995)[1], received(offset=3, count=4)[1])
    print("receive:", received(offset=300_000)[1])
    done = messages.ProcessedRequest(inbox="files", id=arrival.id)
    for _ in range(2):
        print("processed:", node.Processed(done, metadata=metadata).arrival.processed)
    print("open:", len(node.Arrivals(listed, metadata=metadata).arrivals))

    def send(*requests):
        return lambda **k: list(node.Send(iter(requests), **k))

    parcel = messages.Parcel(inbox="paris/files", name="wrong")
    first = messages.SendRequest(parcel=parcel)
    more = messages.SendRequest(content=b"x" * ((1 << 20) + 1))
    fails("no parcel", send(messages.SendRequest(content=b"x")))
    fails("two parcels", send(first, first))
    fails("large part", send(first, more))
    fails("too long", lambda **k: list(node.Send(parts("wrong", length=99), **k)))
    fails("too short", lambda **k: list(node.Send(parts("wrong", length=1 << 30), **k)))
    fails("other length", lambda **k: list(node.Send(parts("one", "k", 7), **k)))
    parcel = messages.Parcel(inbox="lille/files", name="wrong")
    fails("no right", send(messages.SendRequest(parcel=parcel)))
    parcel = messages.Parcel(inbox="paris/files", name="wrong", key="\n")
    fails("wrong key", send(messages.SendRequest(parcel=parcel)))
    parcel = messages.Parcel(inbox="paris/files", name="a/../b")
    fails("wrong name", send(messages.SendRequest(parcel=parcel)))
    fails("no transfer", lambda **k: list(node.Follow(messages.FollowRequest(id="7"), **k)))
    fails("wrong page", node.Outbox, messages.OutboxRequest(page_token="?"))
    fails("large page", node.Outbox, messages.OutboxRequest(page_size=1001))
    fails("other inbox", node.Arrivals, messages.ArrivalsRequest(inbox="private"))
    fails("wrong page", node.Arrivals, messages.ArrivalsRequest(inbox="files", page_token="?"))
    other = messages.ReceiveRequest(inbox="files", id="7")
    fails("no arrival", lambda **k: list(node.Receive(other, **k)))
    behind = messages.ReceiveRequest(inbox="files", id=arrival.id, offset=300_001)
    fails("behind", lambda **k: list(node.Receive(behind, **k)))
    # A client that goes away, or is too late, before it has said all.
    begun = threading.Event()

    def half():
        yield first
        begun.wait()

    try:
        print("too late: no error, but", list(node.Send(half(), metadata=metadata, timeout=0.5)))
    except grpc.RpcError as error:
        # Its own clock may be the first.
        print("too late:", error.code().name)
    begun.set()
    fails("not to be ended", node.Processed, messages.ProcessedRequest(inbox="read", id="7"))


def reflection(channel, metadata):
    from grpc_reflection.v1alpha import reflection_pb2
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    for version in ["v1", "v1alpha"]:
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(ask(iter([request]), metadata=metadata))
        names = sorted(service.name for service in answer.list_services_response.service)
        print(f"{version}:", *names)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="shop.Order")
    answer = next(ask(iter([request]), metadata=metadata))
    file = FileDescriptorProto.FromString(
        answer.file_descriptor_response.file_descriptor_proto[0]
    )
    order = next(message for message in file.message_type if message.name == "Order")
    print("fields of shop.Order:", *(field.name for field in order.field))
    try:
        next(ask(iter([request])))
    except grpc.RpcError as error:
        print("without a token:", said(error))
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    health = health_pb2_grpc.HealthStub(channel)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name
    for name, service in [("the node", ""), ("by name", "estafette.v1.NodeService"), ("shop.Shop", "shop.Shop")]:
        print(f"{name}:", status(health.Check(health_pb2.HealthCheckRequest(service=service)).status))
    try:
        health.Check(health_pb2.HealthCheckRequest(service="none"))
    except grpc.RpcError as error:
        print("nothing:", error.code().name)


def watch(channel, _):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    health = health_pb2_grpc.HealthStub(channel)
    for answer in health.Watch(health_pb2.HealthCheckRequest(service="shop.Shop")):
        print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), flush=True)


def handled(error):
    # Where the client's own clock was first, there are no trailers.
    return dict(error.trailing_metadata() or ()).get("estafette-handled", "unknown")


def main(address, token, what):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        globals()[what](channel, [("authorization", f"Bearer {token}")])


if __name__ == "__main__":
    main(*sys.argv[1:])
