// The server that runs from the former executable: it goes on with it until it is started again,
// which is offered, and done by the new one.

import { unavailable } from "../../model/error.ts";
import { findServer, isDetached } from "../daemon.ts";
import { shellWord } from "../hint.ts";
import type { Shell } from "../shell.ts";

export interface Restart {
  /** The server that was running; null for none. */
  readonly pid: number | null;
  readonly restarted: boolean;
}

export async function offerRestart(options: {
  readonly shell: Shell;
  readonly data_dir: string;
  /** The new executable. */
  readonly program: string;
  readonly version: string;
  /** Undefined: ask, where somebody is there. */
  readonly wanted: boolean | undefined;
}): Promise<Restart> {
  const { shell, data_dir, program, version } = options;
  const { output } = shell;
  const found = await findServer(data_dir);
  if (found.state !== "running") return { pid: null, restarted: false };
  const { pid } = found.record;
  const goesOn = `the running server (pid ${pid}) goes on with the former version`;
  if (!isDetached(pid)) {
    output.words(`${goesOn}; whoever started it in the foreground must start it again`);
    return { pid, restarted: false };
  }
  const config = shell.configGiven ? [`--config=${shell.configPath}`] : [];
  const line = [program, "restart", ...config].map(shellWord).join(" ");
  if (!(await isWanted(options, pid))) {
    output.words(`${goesOn} until: ${line}`);
    return { pid, restarted: false };
  }
  const child = Bun.spawn([program, "restart", ...config], {
    env: shell.env,
    cwd: shell.cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [said, problem] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) {
    const reason = problem.trim();
    throw unavailable(
      `dbx ${version} is installed, but the server was not restarted; see dbx status, then: ${line}`,
      { pid, restart: reason.split("\n") },
    );
  }
  for (const words of `${problem}${said}`.trim().split("\n")) output.words(words);
  return { pid, restarted: true };
}

async function isWanted(
  { shell: { output }, wanted }: { readonly shell: Shell; readonly wanted: boolean | undefined },
  pid: number,
): Promise<boolean> {
  if (wanted !== undefined) return wanted;
  if (!output.interactive) return false;
  const answer = await output.ask(`Restart the running server (pid ${pid}) with it now? [y/N] `);
  return /^y(?:es)?$/i.test(answer.trim());
}
