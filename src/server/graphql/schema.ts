// The executable schema: the text of sdl.ts with its resolvers, each of which is one `call` or
// `follow`.

import { createSchema } from "graphql-yoga";
import { call } from "../../api/call.ts";
import { follow, type LiveBatch } from "../../api/live.ts";
import { unavailable } from "../../model/error.ts";
import type { SurfaceOptions } from "../surface.ts";
import { givenOf, plain } from "./exact.ts";
import type { Exchange } from "./exchange.ts";
import { mutations, queries, subscription } from "./fields.ts";
import { scalars } from "./scalars.ts";
import { schemaText } from "./sdl.ts";

type Source = Pick<SurfaceOptions, "dbx" | "live" | "stopping">;
type Arguments = Readonly<Record<string, unknown>>;
interface Context {
  readonly exchange: Exchange;
}

export function executableSchema(source: Source) {
  return createSchema<Context>({
    typeDefs: schemaText(),
    resolvers: {
      Query: resolversOf(queries, source),
      Mutation: resolversOf(mutations, source),
      Subscription: { [subscription]: subscriberOf(source) },
      ...scalars,
    },
  });
}

function resolversOf(fields: typeof queries, { dbx }: Source) {
  const resolvers = Object.entries(fields).map(([name, { operation, oneInput, member }]) => {
    const resolve = async (_: unknown, args: Arguments, { exchange }: Context) => {
      const input = plain(oneInput === true ? args["input"] : givenOf(args));
      const ask = () => call(dbx, { operation, input, actor: exchange.actorOf() });
      const output = await exchange.inTurn(ask);
      return member === undefined ? output : Object(output)[member];
    };
    return [name, resolve] as const;
  });
  return Object.fromEntries(resolvers);
}

const subscriberOf = ({ live, stopping }: Source) => ({
  /** Rejects with what the first step throws, so that a refusal is an ordinary answer. */
  async subscribe(_: unknown, args: Arguments, { exchange }: Context) {
    const { actorOf, ended, gone } = exchange;
    const signal = AbortSignal.any([ended.signal, gone, stopping]);
    const batches = follow(live, { input: plain(givenOf(args)), actorOf, signal });
    const iterator = batches[Symbol.asyncIterator]();
    const first = await iterator.next();
    return eventsOf(iterator, { first, exchange, stopping });
  },
});

async function* eventsOf(
  batches: AsyncIterator<LiveBatch>,
  options: { first: IteratorResult<LiveBatch>; exchange: Exchange; stopping: AbortSignal },
) {
  const { first, exchange, stopping } = options;
  for (let batch = first; batch.done !== true; batch = await batches.next()) {
    const { records } = batch.value;
    if (records.length === 0) exchange.beat();
    for (const [index, record] of records.entries()) {
      exchange.waiting = records.length - index - 1;
      yield { [subscription]: record };
    }
  }
  if (stopping.aborted) throw unavailable("dbx is stopping");
}
