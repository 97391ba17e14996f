// Made from capnp/peer.capnp by scripts/capnp.ts; change that file instead.

import * as $ from "capnp-es";
/**
 * Asks for one operation. The next request is looked at after the answer.
 *
 */
export class PeerRequest extends $.Struct {
  static override readonly _capnp = {
    displayName: "PeerRequest",
    id: "da4a0872f27fd7e2",
    size: new $.ObjectSize(0, 2),
  };
  /**
   * Its name, such as `listPositions`.
   *
   */
  get operation(): string {
    return $.utils.getText(0, this);
  }
  set operation(value: string) {
    $.utils.setText(0, value, this);
  }
  _adoptInput(value: $.Orphan<$.Data>): void {
    $.utils.adopt(value, $.utils.getPointer(1, this));
  }
  _disownInput(): $.Orphan<$.Data> {
    return $.utils.disown(this.input);
  }
  /**
   * Its input as JSON, with exact numbers.
   *
   */
  get input(): $.Data {
    return $.utils.getData(1, this);
  }
  _hasInput(): boolean {
    return !$.utils.isNull($.utils.getPointer(1, this));
  }
  _initInput(length: number): $.Data {
    return $.utils.initData(1, length, this);
  }
  set input(value: $.Data) {
    $.utils.copyFrom(value, $.utils.getPointer(1, this));
  }
  override toString(): string {
    return "PeerRequest_" + super.toString();
  }
}
/**
 * What came of it.
 *
 */
export class PeerAnswer extends $.Struct {
  static override readonly _capnp = {
    displayName: "PeerAnswer",
    id: "98f2e2da8fe11400",
    size: new $.ObjectSize(8, 1),
  };
  /**
   * Whether `body` is an error.
   *
   */
  get refused(): boolean {
    return $.utils.getBit(0, this);
  }
  set refused(value: boolean) {
    $.utils.setBit(0, value, this);
  }
  _adoptBody(value: $.Orphan<$.Data>): void {
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownBody(): $.Orphan<$.Data> {
    return $.utils.disown(this.body);
  }
  /**
   * The operation's output as JSON; of a refusal the error: message, code, details.
   *
   */
  get body(): $.Data {
    return $.utils.getData(0, this);
  }
  _hasBody(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initBody(length: number): $.Data {
    return $.utils.initData(0, length, this);
  }
  set body(value: $.Data) {
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  override toString(): string {
    return "PeerAnswer_" + super.toString();
  }
}
