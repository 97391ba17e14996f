// Runs many `dbx` command lines in one process, because starting a process for each of hundreds
// would take minutes. In: one JSON array of arguments per line on stdin. Out: what the commands
// print, in their order. Ends with the first exit code that is not 0.

import { runCommandLine } from "../../src/cli/cli.ts";

const lines = (await Bun.stdin.text()).trimEnd().split("\n");
for (const line of lines) {
  const args: string[] = JSON.parse(line);
  const code = await runCommandLine(args);
  if (code !== 0) process.exit(code);
}
process.exit(0);
