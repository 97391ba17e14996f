// TLS as an operator meets it: keys in the configuration file, a start that is refused, a
// certificate that is replaced, SIGHUP, and the machine's own command line beside it all.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { dbx, endDaemon, readPid, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair, type MadePair } from "../support/tls.ts";

let dir: TempDir;
let home: string;
let config: string;
beforeEach(() => {
  dir = tempDir();
  home = dir.path;
  mkdirSync(join(home, ".eventdbx"));
  config = join(home, ".eventdbx/config.toml");
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

const run = (args: readonly string[]) => dbx(args, { home });

/** Beside the configuration file, which names them by their names alone. */
async function configure(over: { expired?: boolean } = {}): Promise<MadePair> {
  const pair = await makePair(join(home, ".eventdbx"), "first", over);
  await Bun.write(
    config,
    'bind_addr = "127.0.0.1"\n[tls]\ncert = "first.crt"\nkey = "first.key"\n',
  );
  return pair;
}

const ask = (port: number, ca: string) =>
  fetch(`https://localhost:${port}/health`, { keepalive: false, tls: { ca } });

function nameShown(port: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ host: "localhost", port, rejectUnauthorized: false }, () => {
    resolve(String(socket.getPeerCertificate().subject.CN));
    socket.destroy();
  });
  socket.on("error", reject);
  return promise;
}

test("paths beside the configuration file, status, the command line, and no word of the key", async () => {
  const pair = await configure();
  await using server = await startForeground({ home });
  const ca = readFileSync(pair.cert, "utf8");
  expect(await (await ask(server.port, ca)).json()).toEqual({ status: "ok" });
  const status = await run(["status"]);
  expect(status.stdout).toContain(`  http: 127.0.0.1:${server.port}\n`);
  expect(status.stdout).toMatch(/^ {2}tls: on, certificate until \d{4}-\d\d-\d\dT/m);
  const asJson = JSON.parse((await run(["status", "--json"])).stdout);
  expect(asJson).toMatchObject({ tls: true, bind_addr: "127.0.0.1" });
  expect((await run(["aggregate", "list"])).code).toBe(0);
  const body = readFileSync(pair.key, "utf8").split("\n")[1] ?? "";
  expect([body.length > 20, server.log().includes(body)]).toEqual([true, false]);
  expect(server.log()).toContain(" tls=true ");
});

test("an address for everybody is warned of only without TLS", async () => {
  await configure();
  await Bun.write(config, readFileSync(config, "utf8").replace("127.0.0.1", "0.0.0.0"));
  await using server = await startForeground({ home });
  expect(server.log()).not.toContain(" warn no TLS ");
});

test("SIGHUP reads the configuration and the certificate, and stops nothing", async () => {
  const pair = await configure();
  const other = await makePair(home, "second");
  await using server = await startForeground({ home });
  expect(await nameShown(server.port)).toBe("first");
  await Bun.write(pair.cert, Bun.file(other.cert));
  await Bun.write(pair.key, Bun.file(other.key));
  await Bun.write(config, `page_limit = 7\n${readFileSync(config, "utf8")}`);
  server.kill("SIGHUP");
  await server.until(" info configuration read applied=page_limit ");
  await server.until(" info certificate replaced ");
  expect(await nameShown(server.port)).toBe("second");
  await Bun.write(pair.key, "nothing");
  await Bun.write(config, "page_limit = nonsense\n");
  server.kill("SIGHUP");
  await server.until(" error configuration refused; the one before stays ");
  await server.until(" error certificate refused; the one before stays ");
  expect(await nameShown(server.port)).toBe("second");
  const fault = `tls.key: ${pair.key} holds no private key in PEM`;
  expect((await run(["status"])).stdout).toContain(`\n  tls_fault: ${fault}`);
  await Bun.write(pair.key, Bun.file(other.key));
  await Bun.write(config, "list_page_size = 8\n");
  server.kill("SIGHUP");
  await server.until(" info configuration read applied=list_page_size,page_limit ");
  const status = async () => (await run(["status", "--json"])).stdout;
  expect(JSON.parse(await status()).figures.tls_expires_at).toBeString();
  expect(await status()).not.toContain("tls_fault");
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
});

test("a daemon is started, and not stopped for a certificate that is no good", async () => {
  const pair = await configure();
  expect((await run(["start", "--port", "0"])).code).toBe(0);
  const { pid, port } = readPid(home);
  expect(await nameShown(port)).toBe("first");
  await Bun.write(pair.cert, "nothing");
  const refused = await run(["restart"]);
  expect([refused.code, refused.stderr.includes("holds no certificate in PEM")]).toEqual([2, true]);
  expect(readPid(home).pid).toBe(pid);
  expect(await nameShown(port)).toBe("first");
  expect((await run(["stop"])).code).toBe(0);
});

test("SIGHUP without TLS is harmless, also many at once", async () => {
  await using server = await startForeground({ home });
  for (let sent = 0; sent < 20; sent++) server.kill("SIGHUP");
  await server.until(" info configuration read ");
  expect((await run(["status"])).code).toBe(0);
});

test.each([
  ["only one of the two", 'tls.key = "first.key"', "tls.key is set but tls.cert is not"],
  ["a file that is not there", 'tls.cert = "no.crt"\ntls.key = "first.key"', "(ENOENT)"],
  [
    "no certificate",
    'tls.cert = "first.key"\ntls.key = "first.key"',
    "holds no certificate in PEM",
  ],
  ["no key", 'tls.cert = "first.crt"\ntls.key = "first.crt"', "holds no private key in PEM"],
  [
    "the key of another",
    'tls.cert = "first.crt"\ntls.key = "second.key"',
    "is not the private key of the first certificate",
  ],
  ["an expired one", 'tls.cert = "old.crt"\ntls.key = "old.key"', "has expired, at 20"],
])("%s keeps the server from starting, and says why", async (_, lines, words) => {
  const folder = join(home, ".eventdbx");
  await makePair(folder, "first");
  await makePair(folder, "second");
  await makePair(folder, "old", { expired: true });
  await Bun.write(config, `bind_addr = "127.0.0.1"\n${lines}\n`);
  const started = await run(["start", "--foreground", "--port", "0"]);
  expect([started.code, started.stdout]).toEqual([2, ""]);
  expect(started.stderr).toContain(words);
  expect(started.stderr).not.toContain("PRIVATE KEY-----");
});
