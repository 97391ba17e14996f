// The SQLite that a system brings, as macOS does, may be older than what the statements need.

import { expect, test } from "bun:test";
import { requireVersion } from "../../src/storage/sqlite/connect.ts";

test.each(["3.8.11", "3.37.2"])(
  "SQLite %s is refused, and the message says where it is from",
  (found) => {
    expect(() => requireVersion(found)).toThrow(
      expect.objectContaining({
        code: "unavailable",
        message:
          `SQLite ${found} is too old; dbx needs 3.38.0 or later; ` +
          "on macOS it comes with the system: update that to macOS 13 or later",
        details: { sqlite: found, needed: "3.38.0" },
      }),
    );
  },
);

test.each(["3.38.0", "3.39.5", "3.54.1", "4.0.0"])("SQLite %s will do", (found) => {
  expect(() => requireVersion(found)).not.toThrow();
});
