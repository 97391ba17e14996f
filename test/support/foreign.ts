// An event of a history that no test has, so that whoever may ask for it is refused for that.

import type { StreamKey } from "../../src/model/stream.ts";

export const foreignEvent = (key: StreamKey) => ({
  ...{ ...key, event_type: "noted", payload: {}, version: 9 },
  metadata: {
    ...{ event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf", issued_by: null },
    created_at: "2024-12-01T17:22:43.512345Z",
  },
  ...{ hash: "0".repeat(64), merkle_root: "0".repeat(64), content_digest: "0".repeat(64) },
  salt: "0".repeat(32),
});
