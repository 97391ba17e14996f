// Formats of text columns, with the cases in which checks of this kind usually differ.

import { describe, expect, test } from "bun:test";
import { checkColumns } from "../support/schema-rules.ts";

const long = (letters: number) => "x".repeat(letters);
const manyLabels = (count: number) => Array.from({ length: count }, () => "a").join(".");

const table = [
  {
    format: "email",
    noun: "email address",
    takes: [
      ...["jane@example.com", "jane.doe+tag@sub.example.co.uk", "a@b", "A@EXAMPLE.COM", "1@2"],
      ...["!#$%&'*+/=?^_`{|}~-@example.com", ".jane..doe.@example.com", "a@b-c.d", "a@1.2.3.4"],
      ...["a@[127.0.0.1]", "a@[2001:db8::1]", "a@[::ffff:1.2.3.4]", "a@[::]"],
      ...["jane@münchen.de", "jane@例え.テスト", `${long(64)}@b`, `a@${long(63)}`],
      ...[`a@${manyLabels(128)}`],
    ],
    refuses: [
      ...["", "@", "jane", "jane@", "@example.com", "a b@c", "a@b c", "a@b@", "a@@b", "jane@.com"],
      ...["a@b.", "a@b..c", "a@-b", "a@b-", "a@b_c", '"a"@b', "ä@b.de", "a@b\n", "a\n@b"],
      ...["a@[127.0.0.256]", "a@[1.2.3]", "a@[01.2.3.4]", "a@[1.2.3.4", "a@[]", "a@[::g]"],
      ...["a@[IPv6:::1]", "a@[1::2::3]", "a@[a]", "a@ü/x", "a@ü:80", "a@ü b", "a@ü%41", "a@ü@"],
      ...[`${long(65)}@b`, `a@${long(64)}`, `a@${manyLabels(129)}`, `a@ü${manyLabels(128)}`],
    ],
  },
  {
    format: "url",
    noun: "URL",
    takes: [
      ...["https://example.com", "http://localhost:8080/a?b=c#d", "mailto:a@b", "urn:isbn:1"],
      ...["ftp://user:pw@host/", "file:///etc/hosts", "http://[::1]/", "data:,x", "a:b"],
      ...["https://münchen.de/ä", "http://1.2.3.4/"],
    ],
    refuses: ["", "example.com", "/a", "//example.com", "http://", "http://a b/", "http://[::1"],
  },
  {
    format: "credit_card",
    noun: "credit card number",
    takes: [
      // Numbers that the brands publish for tests.
      ...["4111111111111111", "4012888888881881", "4222222222222", "4917300800000000"],
      ...["5555555555554444", "5105105105105100", "2223003122003222", "378282246310005"],
      ...["371449635398431", "30569309025904", "38520000023237", "6011111111111117"],
      ...["3530111333300000", "6200000000000005", "2200000000000004", "6759649826438453"],
      // The longest and the shortest of brands that have several lengths, with a right check digit.
      ...["8800000000000000005", "501800000009", "6700000000000000009"],
      ...["2200123456789012341", "6221260000000000"],
      ...["5019717010103742", "8800000000000005", "6007220000000004", "6250941006528599"],
    ],
    refuses: [
      ...[
        "",
        "0",
        "4111111111111112",
        "411111111111111",
        "41111111111111111",
        "4111 1111 1111 1111",
      ],
      ...["4111-1111-1111-1111", "0000000000000000", "1111111111111117", "37828224631000"],
      ...[
        "555555555555444",
        "305693090259043",
        "4a11111111111111",
        "４１１１１１１１１１１１１１１１",
      ],
      ...["9999999999999995", "353011133330000", "620000000000000", "22000000000000000000"],
      // Of a wrong length for their brand, with a right check digit.
      ...["4508000000008", "600100000000002", "62212600000000001"],
    ],
  },
];

describe.each(table)("the format $format", ({ format, noun, takes, refuses }) => {
  const check = (value: string) =>
    checkColumns({ f: { type: "text", format } }, JSON.stringify({ f: value }))?.message ?? null;
  test.each(takes)("takes %p", (value) => {
    expect(check(value)).toBeNull();
  });
  test.each(refuses)("refuses %p", (value) => {
    expect(check(value)).toBe(`schema violation: field f must be a valid ${noun}`);
  });
});

test("a number is no credit card number, because a column with a format is text", () => {
  const column = { type: "text", format: "credit_card" };
  expect(checkColumns({ f: column }, '{"f":4111111111111111}')?.message).toBe(
    "schema violation: field f must be a string",
  );
});
