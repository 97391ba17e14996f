/**
 * The page on which people try queries: open to everybody, whole in one answer, and nothing of it
 * comes from elsewhere, which the browser is made to see to.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { http, startForeground } from "../support/cli.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { tempDir } from "../support/temp.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const open = (path: string, headers: Record<string, string> = { Accept: "text/html" }) =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { headers });

/** What the parser of HTML sees of the page, without the text of its script and styles. */
async function elementsOf(html: string): Promise<{ name: string; attributes: string[][] }[]> {
  const elements: { name: string; attributes: string[][] }[] = [];
  const rewriter = new HTMLRewriter().on("*", {
    element: ({ tagName, attributes }) => {
      elements.push({ name: tagName, attributes: [...attributes] });
    },
  });
  await rewriter.transform(new Response(html)).text();
  return elements;
}

test("it is open, under both paths, and to a browser that has a query in its address", async () => {
  const paths = ["/graphql", "/graphql/playground", "/graphql?query=%7B__typename%7D"];
  const pages = await Promise.all(
    paths.map(async (path) => {
      const response = await open(path, {
        Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
      return response.text();
    }),
  );
  expect(new Set(pages).size).toBe(1);
  expect((await open("/graphql", {})).headers.get("content-type")).toContain("text/html");
});

test("a query is one however its name is written, and needs a token", async () => {
  for (const name of ["query", "%71uery"]) {
    expect((await open(`/graphql?${name}=%7B__typename%7D`, {})).status).toBe(401);
  }
});

test("it loads nothing from elsewhere", async () => {
  const html = await (await open("/graphql")).text();
  const loaded = (await elementsOf(html)).flatMap(({ name, attributes }) =>
    attributes
      .filter(([key]) => key === "src" || key === "href" || key === "srcset" || key === "data")
      .map(([, value]) => [name, value?.slice(0, 11)]),
  );
  // The icon, which is in the page itself.
  expect(loaded).toEqual([["link", "data:image/"]]);
  const styles = [...html.matchAll(/<style>([\s\S]*?)<\/style>/g)].map(([, text = ""]) => text);
  expect(styles).toHaveLength(1);
  for (const style of styles) {
    expect(style).not.toContain("@import");
    const urls = [...style.matchAll(/url\(([^)]{0,10})/g)].map(([, start = ""]) => start);
    expect(urls.filter((start) => !/^["']?(?:data:|#)/.test(start))).toEqual([]);
  }
});

test("its policy lets this one script run, and connect to this server only", async () => {
  const response = await open("/graphql/playground");
  const html = await response.text();
  const policy = new Map(
    (response.headers.get("content-security-policy") ?? "").split("; ").map((part) => {
      const [name = "", ...values] = part.split(" ");
      return [name, values.join(" ")] as const;
    }),
  );
  const start = html.indexOf("<script>") + "<script>".length;
  const script = html.slice(start, html.indexOf("</script>", start));
  const digest = new Bun.CryptoHasher("sha256").update(script).digest("base64");
  expect(script.length).toBeGreaterThan(1_000_000);
  expect([...policy]).toEqual([
    ["default-src", "'none'"],
    ["script-src", `'sha256-${digest}'`],
    ["style-src", "'unsafe-inline'"],
    ["img-src", "data:"],
    ["font-src", "data:"],
    ["connect-src", "'self'"],
    ["base-uri", "'none'"],
    ["form-action", "'none'"],
    ["frame-ancestors", "'none'"],
  ]);
});

test("it shows where the token belongs, and asks this server", async () => {
  const html = await (await open("/graphql/playground")).text();
  const start = html.indexOf("YogaGraphiQL.renderYogaGraphiQL(");
  const call = html.slice(start, html.indexOf("</script>", start));
  const options = JSON.parse(call.slice(call.indexOf("{"), call.lastIndexOf("}") + 1));
  expect(JSON.parse(options.headers)).toEqual({ Authorization: "Bearer " });
  expect(options.endpoint).toBe("/graphql");
  expect(options.defaultQuery).toContain("dbx token generate");
  const answer = await server.ask("POST", "/graphql", { body: { query: options.defaultQuery } });
  expect(answer.json).toEqual({ data: { aggregates: [] } });
});

test("a crowd that asks for it and takes nothing costs little memory", async () => {
  using dir = tempDir();
  await using crowded = await startForeground({ home: dir.path });
  const { port, pid } = crowded;
  const most = () =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
  expect((await http(port, "/graphql")).text.length).toBeGreaterThan(1 << 20);
  const before = most();
  const crowd = await Promise.all(
    Array.from({ length: 300 }, () =>
      Bun.connect({
        ...{ hostname: "127.0.0.1", port },
        socket: {
          open(socket) {
            socket.pause();
            socket.write("GET /graphql HTTP/1.1\r\nHost: x\r\n\r\n");
          },
          data: () => {},
          error: () => {},
        },
      }),
    ),
  );
  // Whoever asks after them is answered after them.
  for (let count = 0; count < 20; count++) expect((await http(port, "/health")).status).toBe(200);
  expect(most() - before).toBeLessThan(200);
  for (const one of crowd) one.terminate();
}, 60_000);
