// A client of dbx as a stranger writes it: Node, an unmodified grpc-js, and proto/dbx.proto.
// Arguments: address, token, path of the contract. Prints one line of JSON.

import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, token, contract] = process.argv.slice(2);
const { EventService } = loadPackageDefinition(
  loadSync(contract, { keepCase: true, longs: String, enums: String, oneofs: true }),
).dbx.api;
const client = new EventService(address, credentials.createInsecure());
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${token}`);

const ask = (name, message) =>
  new Promise((resolve, reject) => {
    client[name](message, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
const eventOf = (number) => ({
  aggregate_type: "node",
  aggregate_id: "n-1",
  event_type: "counted",
  payload_json: `{"number":${number},"exact":1234567890123456789.50}`,
});
const key = { aggregate_type: "node", aggregate_id: "n-1" };

const health = await ask("Health", {});
const { event } = await ask("AppendEvent", {
  ...eventOf(0),
  expected_state: "EXPECTED_STATE_NO_STREAM",
});
const { events } = await ask("AppendEvents", { events: [eventOf(1), eventOf(2)] });

const loading = client.AppendStream(metadata);
const progress = new Promise((resolve, reject) => {
  let last;
  loading.on("data", (answer) => (last = answer));
  loading.on("error", reject);
  loading.on("end", () => resolve(last));
});
for (let number = 3; number < 1000; number++) loading.write({ events: [eventOf(number)] });
loading.end();

const acknowledged = await progress;
const positions = [];
const following = client.Subscribe({ after: "0" }, metadata);
for await (const { event: followed } of following) {
  if (followed) positions.push(Number(followed.position));
  if (positions.length === 1000) break;
}
// Left alone it would go on, and so would this process.
following.on("error", () => {}).cancel();

const refused = await ask("AppendEvent", { ...eventOf(0), expected_version: "7" }).catch(
  ({ code, details }) => ({ code, details }),
);
const { aggregate } = await ask("GetAggregate", key);
const verified = await ask("VerifyAggregate", key);
const listed = await ask("ListAggregates", {});
const page = await ask("ListEvents", { ...key, take: 2 });
const log = await ask("ReadLog", { after: "998" });

process.stdout.write(
  JSON.stringify({
    ...{ health, event, batch: events.length, acknowledged, refused, aggregate, verified },
    ordered: positions.every((position, index) => position === index + 1),
    listed: listed.aggregates.length,
    page: page.events.map(({ version }) => version),
    log: log.events.map(({ position }) => position),
  }),
);
client.close();
