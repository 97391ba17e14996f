// Made from capnp/control.capnp by scripts/capnp.ts; change that file instead.

import * as $ from "capnp-es";
/**
 * Asks for one command. The next request of a connection is looked at after the answer.
 *
 */
export class CliRequest extends $.Struct {
  static override readonly _capnp = {
    displayName: "CliRequest",
    id: "dc857d3d700d25e6",
    size: new $.ObjectSize(0, 2),
  };
  _adoptArgs(value: $.Orphan<$.List<string>>): void {
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownArgs(): $.Orphan<$.List<string>> {
    return $.utils.disown(this.args);
  }
  /**
   * The words after `dbx`, as a shell would hand them over.
   *
   */
  get args(): $.List<string> {
    return $.utils.getList(0, $.TextList, this);
  }
  _hasArgs(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initArgs(length: number): $.List<string> {
    return $.utils.initList(0, $.TextList, length, this);
  }
  set args(value: $.List<string>) {
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  /**
   * Whom the command acts for: the value of a token, as `dbx token generate` printed it.
   *
   */
  get token(): string {
    return $.utils.getText(1, this);
  }
  set token(value: string) {
    $.utils.setText(1, value, this);
  }
  override toString(): string {
    return "CliRequest_" + super.toString();
  }
}
/**
 * What the command did, as a shell would see it.
 *
 */
export class CliResponse extends $.Struct {
  static override readonly _capnp = {
    displayName: "CliResponse",
    id: "8cde290fac3d9e6f",
    size: new $.ObjectSize(8, 2),
  };
  /**
   * 0 for success; otherwise as in the README's table of exit codes.
   *
   */
  get exitCode(): number {
    return $.utils.getInt32(0, this);
  }
  set exitCode(value: number) {
    $.utils.setInt32(0, value, this);
  }
  /**
   * Data: everything that the command printed.
   *
   */
  get stdout(): string {
    return $.utils.getText(0, this);
  }
  set stdout(value: string) {
    $.utils.setText(0, value, this);
  }
  /**
   * Words: errors, warnings and hints.
   *
   */
  get stderr(): string {
    return $.utils.getText(1, this);
  }
  set stderr(value: string) {
    $.utils.setText(1, value, this);
  }
  override toString(): string {
    return "CliResponse_" + super.toString();
  }
}
