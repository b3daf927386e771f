// Asks any actor that takes JSON, by its name, by gRPC-Web: the door's own service `estafette.v1`,
// as a page calls it with the stock client of Connect, here by Node's own fetch.
//
//   npm install
//   node ask_web.js http://127.0.0.1:50051 TOKEN paris/shop shop.Order '{"article":"tea"}'
import { readFileSync } from "node:fs";

import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const [baseUrl, token, actor, type, json] = process.argv.slice(2);
// A page has this from a generator (buf, protoc-gen-es); here a set of descriptors is read.
const file = new URL("../../actors/doors/proto/estafette.v1.binpb", import.meta.url);
const set = fromBinary(FileDescriptorSetSchema, readFileSync(file));
const service = createFileRegistry(set).getService("estafette.v1.NodeService");

const node = createClient(service, createGrpcWebTransport({ baseUrl }));
const request = { target: { actor, type }, payload: { body: { case: "json", value: json } } };
try {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await node.ask(request, { headers, timeoutMs: 30_000 });
  console.log(answer.payload.body.value);
} catch (error) {
  const handled = error.metadata?.get("estafette-handled");
  console.error(`${Code[error.code]}: ${error.rawMessage} (handled: ${handled})`);
  process.exitCode = 1;
}
