// Which paths there are and which methods each takes: what the router cannot say about a request it
// has no handler for.

interface PathMethod {
  readonly method: string;
  readonly path: string;
}

export interface Paths {
  /** Methods of a path, for `Allow`; empty where there is no such path. */
  readonly methodsOf: (pathname: string) => readonly string[];
  /** Whether the path lies where nothing is said without a token. */
  readonly needToken: (pathname: string) => boolean;
}

export function createPaths(known: readonly PathMethod[]): Paths {
  const open = known.filter(({ path }) => !isGuarded(path)).map(({ path }) => path);
  return {
    methodsOf(pathname) {
      const parts = pathname.split("/");
      const methods = known
        .filter(({ path }) => fits(path.split("/"), parts))
        .flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]));
      return methods.length === 0 ? [] : [...methods, "OPTIONS"];
    },
    needToken: (pathname) => isGuarded(pathname) && !open.includes(pathname),
  };
}

const isGuarded = (pathname: string): boolean =>
  pathname.startsWith("/v1/") || pathname.startsWith("/admin/");

const fits = (pattern: readonly string[], parts: readonly string[]): boolean =>
  pattern.length === parts.length &&
  pattern.every((part, index) =>
    part.startsWith("{") ? parts[index] !== "" : part === parts[index],
  );

/** A path of the route table as Elysia writes it: `/v1/aggregates/:aggregate_type`. */
export const patternOf = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ":$1");

/**
 * The path of a URL, still encoded. A URL without host (a request without one) is a path already.
 */
export function pathnameOf(url: string): string {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("//") + 2);
  const query = url.indexOf("?");
  return url.slice(start === -1 ? url.length : start, query === -1 ? url.length : query);
}
