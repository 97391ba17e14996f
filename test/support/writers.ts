// Sixteen writers who keep a server busy while a test does something else.

import { expect } from "bun:test";
import { http, type RunningServer } from "./cli.ts";

/** Appends without pause until told to stop. Out: how many events were acknowledged. */
export function keepWriting(server: RunningServer, token: string) {
  let stopped = false;
  const write = async (writer: number): Promise<number> => {
    let acknowledged = 0;
    while (!stopped) {
      const body = JSON.stringify({
        ...{ aggregate_type: "zz-load", aggregate_id: `w-${writer}`, event_type: "written" },
        payload: { n: acknowledged },
      });
      const answer = await http(server.port, "/v1/events", { token, body });
      expect(answer.status).toBe(200);
      acknowledged++;
    }
    return acknowledged;
  };
  const writers = Array.from({ length: 16 }, (_, index) => write(index));
  return {
    stop: async (): Promise<number> => {
      stopped = true;
      const counts = await Promise.all(writers);
      return counts.reduce((sum, count) => sum + count, 0);
    },
  };
}
