// `dbx plugin install …` in a process of its own. In: the configuration file, then its words.

import { pluginInstall } from "../../src/cli/commands/plugin-install.ts";
import { runWords } from "../../src/cli/cli.ts";
import { openShell } from "../../src/cli/shell.ts";

const [configPath, ...args] = process.argv.slice(2);
const json = args.includes("--json");
const shell = openShell({ configPath, url: undefined, caFile: undefined, json, runWords });
process.exitCode = await pluginInstall.invoke(args, shell).catch(({ code, message }) => {
  process.stderr.write(`${code}: ${message}\n`);
  return 1;
});
