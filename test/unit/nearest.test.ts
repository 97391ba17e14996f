// Guessing which known name somebody meant, and keeping quiet when nothing is close.

import { expect, test } from "bun:test";
import { didYouMean, nearest } from "../../src/model/nearest.ts";

const known = ["page_limit", "list_page_size", "port", "restrict"];

test.each([
  ["page_limt", "page_limit"],
  ["pagelimit", "page_limit"],
  ["PORT", "port"],
  ["prot", "port"],
  ["restricted", "restrict"],
  ["list_page", undefined],
  ["data_dir", undefined],
  ["", undefined],
])("%j means %j", (name, wanted) => {
  expect(nearest(name, known)).toBe(wanted);
});

test("the first of equally close names wins, and none of none", () => {
  expect(nearest("ab", ["ax", "ay"])).toBe("ax");
  expect(nearest("ab", [])).toBeUndefined();
});

test("the guess is the end of a sentence", () => {
  expect(didYouMean("prot", known)).toBe("; did you mean port?");
  expect(didYouMean("zzzzzzz", known)).toBe("");
});
