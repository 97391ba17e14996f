// The gRPC contracts as dbx speaks them: parsed from the very files that clients read, which are
// part of the executable. Who answers the calls is not known here.

import protobuf from "protobufjs";
import dbxText from "../../proto/dbx.proto" with { type: "text" };
import descriptorText from "../../proto/descriptor.proto" with { type: "text" };
import healthText from "../../proto/health.proto" with { type: "text" };
import reflectionText from "../../proto/reflection.proto" with { type: "text" };
import replicationText from "../../proto/replication.proto" with { type: "text" };
import statusText from "../../proto/status.proto" with { type: "text" };
import { createCodec, type Codec } from "./codec.ts";

export interface Method {
  /** `AppendEvent`. */
  readonly name: string;
  readonly request: Codec;
  readonly response: Codec;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

export interface Package {
  /** `dbx.api`. */
  readonly packageName: string;
  /** What is in it. */
  readonly space: protobuf.NamespaceBase;
}

export interface Contract extends Package {
  /** Full name of its service: `dbx.api.EventService`. */
  readonly service: string;
  readonly methods: readonly Method[];
}

const renamed = (text: string, packageName: string): string =>
  text.replace(/^package [\w.]+;$/m, `package ${packageName};`);

/** The contracts that are served; the two older names carry the same messages and numbers. */
export const loadContracts = () => ({
  dbx: parse(dbxText),
  eventdbx: parse(renamed(dbxText, "eventdbx.api")),
  health: parse(healthText),
  reflection: parse(reflectionText),
  reflectionAlpha: parse(renamed(reflectionText, "grpc.reflection.v1alpha")),
});

/** How events are handed to another node: what plugins of the kind grpc send. */
export const loadReplicationContract = (): Contract => parse(replicationText);

/** The messages in which a refusal is told in detail. */
export function loadStatusCodecs() {
  const { root } = protobuf.parse(statusText, { keepCase: true });
  const codec = (name: string): Codec => createCodec(root.lookupType(`google.rpc.${name}`));
  return {
    status: codec("Status"),
    errorInfo: codec("ErrorInfo"),
    badRequest: codec("BadRequest"),
    retryInfo: codec("RetryInfo"),
  };
}

/** How a contract is described to clients that have no file. */
export const loadDescriptorCodec = (): Codec =>
  createCodec(
    protobuf
      .parse(descriptorText, { keepCase: true })
      .root.lookupType("google.protobuf.FileDescriptorProto"),
  );

/** The messages of refusals, for clients that show them by their descriptors. */
export const loadStatusPackage = (): Package => parsePackage(statusText);

function parsePackage(text: string): Package {
  const { root, package: packageName = "" } = protobuf.parse(text, { keepCase: true });
  root.resolveAll();
  const space = root.lookup(packageName);
  if (!(space instanceof protobuf.Namespace)) throw new Error(`${packageName} is a package`);
  return { packageName, space };
}

function parse(text: string): Contract {
  const { packageName, space } = parsePackage(text);
  const service = space.nestedArray.find((member) => member instanceof protobuf.Service);
  if (service === undefined) throw new Error(`${packageName} has a service`);
  const methods = service.methodsArray.map((method): Method => {
    const { name, resolvedRequestType, resolvedResponseType } = method;
    if (resolvedRequestType === null || resolvedResponseType === null)
      throw new Error(`the messages of ${name} are known`);
    return {
      name,
      request: createCodec(resolvedRequestType),
      response: createCodec(resolvedResponseType),
      requestStream: method.requestStream === true,
      responseStream: method.responseStream === true,
    };
  });
  return { packageName, space, service: service.fullName.slice(1), methods };
}
