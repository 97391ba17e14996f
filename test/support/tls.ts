// Certificates of the test's own, made by openssl: each is its own authority.

import { chmodSync } from "node:fs";
import { join } from "node:path";
import type { PairPaths } from "../../src/server/tls.ts";

export interface MadePair extends PairPaths {
  /** The subject's name, by which a client sees which certificate it was shown. */
  readonly name: string;
}

/** For `localhost` and both loopback addresses. */
export async function makePair(
  directory: string,
  name: string,
  over: { expired?: boolean; names?: string } = {},
): Promise<MadePair> {
  const cert = join(directory, `${name}.crt`);
  const key = join(directory, `${name}.key`);
  const subject = ["-subj", `/CN=${name}`];
  const names = `subjectAltName=${over.names ?? "DNS:localhost,IP:127.0.0.1,IP:::1"}`;
  await openssl([
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    ...["-keyout", key, "-out", cert, "-days", "30", ...subject, "-addext", names],
  ]);
  if (over.expired === true) {
    await openssl(["x509", "-in", cert, "-signkey", key, "-days", "-1", "-out", `${cert}.old`]);
    await Bun.write(cert, Bun.file(`${cert}.old`));
  }
  chmodSync(key, 0o600);
  return { cert, key, name };
}

export async function openssl(args: readonly string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...args], { stdout: "ignore", stderr: "pipe" });
  const words = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(words);
}
