// Ctrl-C and its like during work that would leave something half-done.

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal ends the work first, so that nothing of it stays, and then the process. */
export async function interruptible<Result>(
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  let caught: NodeJS.Signals | null = null;
  const interrupt = (name: NodeJS.Signals) => {
    caught = name;
    controller.abort();
  };
  for (const name of signals) process.on(name, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of signals) process.off(name, interrupt);
    // Once nobody listens, the signal ends the process as if nobody ever had.
    if (caught !== null) process.kill(process.pid, caught);
  }
}
