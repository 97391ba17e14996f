// What server reflection answers: the contracts as descriptors, by name of a file or of anything in
// it. Each package is one file that needs no other, so an answer is always one descriptor.

import protobuf from "protobufjs";
import type { Message } from "./codec.ts";
import { loadDescriptorCodec, type Contract, type Package } from "./contract.ts";
import { describe, fileName } from "./descriptor.ts";

/** Canonical gRPC status codes. */
const notFound = 5;
const unimplemented = 12;

/**
 * `packages` are described beside the contracts. In: a `ServerReflectionRequest`. Out: the
 * `ServerReflectionResponse`.
 */
export function createReflection(
  contracts: readonly Contract[],
  packages: readonly Package[],
): (request: Message) => object {
  const file = loadDescriptorCodec();
  const files = new Map<string, Buffer>();
  const symbols = new Map<string, Buffer>();
  for (const one of [...contracts, ...packages]) {
    const bytes = describe(file, one);
    files.set(fileName(one.packageName), bytes);
    indexNames(one.space, (name) => symbols.set(name, bytes));
  }
  const services = contracts.map(({ service: name }) => ({ name }));

  const answer = (request: Message): object => {
    const { list_services, file_by_filename, file_containing_symbol } = request;
    if (list_services !== undefined) return { list_services_response: { service: services } };
    if (file_by_filename !== undefined) return fileOf(files, file_by_filename);
    if (file_containing_symbol !== undefined) return fileOf(symbols, file_containing_symbol);
    const { file_containing_extension, all_extension_numbers_of_type } = request;
    const extended = file_containing_extension ?? all_extension_numbers_of_type;
    if (extended !== undefined) return refusal(notFound, "there are no extensions");
    return refusal(unimplemented, "the request asks for nothing that is known here");
  };
  return (request) => ({
    valid_host: request["host"] ?? "",
    original_request: request,
    ...answer(request),
  });
}

function fileOf(files: ReadonlyMap<string, Buffer>, name: unknown): object {
  const bytes = files.get(String(name));
  if (bytes === undefined) return refusal(notFound, "no such file or symbol");
  return { file_descriptor_response: { file_descriptor_proto: [bytes] } };
}

const refusal = (error_code: number, error_message: string): object => ({
  error_response: { error_code, error_message },
});

/** Packages, messages, services and calls by their full names, without the leading dot. */
function indexNames(inside: protobuf.ReflectionObject, add: (name: string) => void): void {
  add(inside.fullName.slice(1));
  if (inside instanceof protobuf.Service) {
    for (const method of inside.methodsArray) add(method.fullName.slice(1));
  }
  if (inside instanceof protobuf.Namespace) {
    for (const member of inside.nestedArray) indexNames(member, add);
  }
}
