// Steps, one after the other: their order, their bounds, and what becomes of them at the end.

import { expect, test } from "bun:test";
import { createSteps } from "../../src/engine/steps.ts";
import { refusalOf } from "../support/staged.ts";

const bounds = { what: "steps", steps_max: 3, bytes_max: 10 };

/** A step that runs until it is told to end. */
function stepOf(bytes: number) {
  const { promise, resolve } = Promise.withResolvers<string>();
  let isRunning = false;
  const run = () => {
    isRunning = true;
    return promise;
  };
  return { bytes, run, end: () => resolve("done"), isRunning: () => isRunning };
}

test("the first runs at once, the next when it is done, whatever became of it", async () => {
  const steps = createSteps(bounds);
  const [first, second] = [stepOf(1), stepOf(1)];
  const failing = steps.inTurn({ bytes: 1, run: () => Promise.reject(new Error("failed")) });
  const answers = [steps.inTurn(first), steps.inTurn(second)];
  await expect(failing).rejects.toThrow("failed");
  first.end();
  expect(await answers[0]).toBe("done");
  second.end();
  expect(await answers[1]).toBe("done");
  const alone = stepOf(1);
  const answer = steps.inTurn(alone);
  expect(alone.isRunning()).toBe(true);
  alone.end();
  await answer;
});

test.each([
  ["by count", [1, 1, 1], 1],
  ["by bytes", [5, 5], 1],
])("what waits is bounded %s, and room is made by what is done", async (_, held, more) => {
  const steps = createSteps(bounds);
  const all = held.map(stepOf);
  const answers = all.map(steps.inTurn);
  const refusal = await refusalOf(steps.inTurn(stepOf(more)));
  expect([refusal.code, refusal.message]).toEqual([
    "overloaded",
    "too many steps are waiting; try again",
  ]);
  expect(refusal.details).toEqual({ waiting: held.length });
  all[0]?.end();
  await answers[0];
  const last = stepOf(more);
  const answer = steps.inTurn(last);
  for (const step of [...all, last]) step.end();
  expect(await Promise.all([...answers, answer])).not.toContain(undefined);
});

test("closing waits for the one that runs; those that wait never run", async () => {
  const steps = createSteps(bounds);
  const [running, waiting] = [stepOf(1), stepOf(1)];
  const answers = [steps.inTurn(running), steps.inTurn(waiting)];
  let isClosed = false;
  const closing = steps.close().then(() => (isClosed = true));
  expect((await refusalOf(steps.inTurn(stepOf(1)))).code).toBe("unavailable");
  expect(isClosed).toBe(false);
  running.end();
  expect(await answers[0]).toBe("done");
  expect((await refusalOf(answers[1] ?? Promise.resolve())).code).toBe("unavailable");
  await closing;
  expect(waiting.isRunning()).toBe(false);
});
