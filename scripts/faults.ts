// Runs the matrix of plugins and faults (test/fault/plugins-matrix.test.ts) time and again, each
// round with seeds of its own, until one fails; the seed of that one is in what it printed.
// Run: bun scripts/faults.ts [rounds]

import { root } from "./root.ts";

const rounds = Number(process.argv[2] ?? 20);
for (let round = 1; round <= rounds; round++) {
  const started = performance.now();
  const argv = [process.execPath, "--no-env-file", "test", "test/fault/plugins-matrix.test.ts"];
  const child = Bun.spawn(argv, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const [words, more] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const seconds = ((performance.now() - started) / 1_000).toFixed(0);
  if ((await child.exited) !== 0) {
    console.log(`${words}${more}\nround ${round} failed after ${seconds} s`);
    process.exit(1);
  }
  console.log(
    `round ${round} of ${rounds}: every event arrived, or is dead and listed (${seconds} s)`,
  );
}
