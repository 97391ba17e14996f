// What the HTTP surfaces count for `dbx status`.

export interface Figures {
  /** Requests that are being answered now. */
  running: number;
  /** In: the HTTP status of a finished request. */
  readonly count: (status: number) => void;
  /** What somebody else counts beside it. */
  readonly add: (read: () => Record<string, number>) => void;
  readonly read: () => Record<string, number>;
}

export function createFigures(): Figures {
  let requests = 0;
  let refused = 0;
  let failed = 0;
  const others: (() => Record<string, number>)[] = [];
  const figures: Figures = {
    running: 0,
    add: (read) => void others.push(read),
    count(status) {
      requests++;
      if (status >= 500) failed++;
      else if (status >= 400) refused++;
    },
    read: () => ({
      http_requests: requests,
      http_requests_refused: refused,
      http_requests_failed: failed,
      http_requests_running: figures.running,
      ...Object.fromEntries(others.flatMap((read) => Object.entries(read()))),
    }),
  };
  return figures;
}
