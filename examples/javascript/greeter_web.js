// The greeter's proto by gRPC-Web, as a page calls it with the stock client of Connect: here by
// Node's own fetch.
//
//   npm install
//   node greeter_web.js http://127.0.0.1:50051 TOKEN NAME TIMES
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor/index.js";

const [baseUrl, token, name, times] = process.argv.slice(2);
// A page has this from a generator (buf, protoc-gen-es); here the proto is read when it starts.
const proto = new URL("../greeter/greeter.proto", import.meta.url).pathname;
const root = protobuf.loadSync(proto).resolveAll().toDescriptor("proto3");
const set = fromBinary(FileDescriptorSetSchema, descriptor.FileDescriptorSet.encode(root).finish());
const service = createFileRegistry(set).getService("helloworld.Greeter");

const greeter = createClient(service, createGrpcWebTransport({ baseUrl }));
const headers = { Authorization: `Bearer ${token}` };
try {
  for await (const line of greeter.sayHello({ name, times: Number(times) }, { headers })) {
    console.log(line.text);
  }
} catch (error) {
  const handled = error.metadata?.get("estafette-handled");
  console.error(`${Code[error.code]}: ${error.rawMessage} (handled: ${handled})`);
  process.exitCode = 1;
}
