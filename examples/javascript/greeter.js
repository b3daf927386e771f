// A stock gRPC client of the greeter's proto, which it reads when it starts.
//
//   npm install
//   node greeter.js 127.0.0.1:50051 TOKEN NAME TIMES
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, token, name, times] = process.argv.slice(2);
const proto = new URL("../greeter/greeter.proto", import.meta.url).pathname;
const { Greeter } = loadPackageDefinition(loadSync(proto)).helloworld;
const greeter = new Greeter(address, credentials.createInsecure());
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${token}`);

const lines = greeter.sayHello({ name, times: Number(times) }, metadata);
lines.on("data", (line) => console.log(line.text));
lines.on("error", (error) => {
  const handled = error.metadata?.get("estafette-handled")[0];
  console.error(`${error.code}: ${error.details} (handled: ${handled})`);
  process.exitCode = 1;
});
lines.on("close", () => greeter.close());
