// Made from capnp/replication.capnp by scripts/capnp.ts; change that file instead.

import * as $ from "capnp-es";
/**
 * The first message of a connection, from whoever opened it.
 *
 */
export class ReplicationHello extends $.Struct {
  static override readonly _capnp = {
    displayName: "ReplicationHello",
    id: "ebd73b2bead3727a",
    size: new $.ObjectSize(8, 1),
  };
  /**
   * 2. EventDBX 1 says 1, which proved nothing, and is refused.
   *
   */
  get protocolVersion(): number {
    return $.utils.getUint16(0, this);
  }
  set protocolVersion(value: number) {
    $.utils.setUint16(0, value, this);
  }
  _adoptExpectedPublicKey(value: $.Orphan<$.Data>): void {
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownExpectedPublicKey(): $.Orphan<$.Data> {
    return $.utils.disown(this.expectedPublicKey);
  }
  /**
   * In version 1 the key that the other node should have. Empty since, because it is in clear.
   *
   */
  get expectedPublicKey(): $.Data {
    return $.utils.getData(0, this);
  }
  _hasExpectedPublicKey(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initExpectedPublicKey(length: number): $.Data {
    return $.utils.initData(0, length, this);
  }
  set expectedPublicKey(value: $.Data) {
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  override toString(): string {
    return "ReplicationHello_" + super.toString();
  }
}
/**
 * The answer. After one that accepts, the next byte is the first of TLS.
 *
 */
export class ReplicationHelloResponse extends $.Struct {
  static override readonly _capnp = {
    displayName: "ReplicationHelloResponse",
    id: "8e35b4337b1697b2",
    size: new $.ObjectSize(8, 1),
  };
  /**
   * Whether the connection goes on.
   *
   */
  get accepted(): boolean {
    return $.utils.getBit(0, this);
  }
  set accepted(value: boolean) {
    $.utils.setBit(0, value, this);
  }
  /**
   * `ok`, or why not, for people.
   *
   */
  get message(): string {
    return $.utils.getText(0, this);
  }
  set message(value: string) {
    $.utils.setText(0, value, this);
  }
  override toString(): string {
    return "ReplicationHelloResponse_" + super.toString();
  }
}
