#!/usr/bin/env bun
// argv in, exit code out: the only place that ends the process. Everything heavy is imported when
// it is known to be needed, so that `dbx --version` answers at once.

import { version } from "./version.ts";

const args = process.argv.slice(2);

if (args.length === 1 && args[0] === "--version") {
  process.stdout.write(`dbx ${version}\n`);
} else {
  const { runCommandLine } = await import("./cli/cli.ts");
  process.exit(await runCommandLine(args));
}
