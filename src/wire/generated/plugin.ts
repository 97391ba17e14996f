// Made from capnp/plugin.capnp by scripts/capnp.ts; change that file instead.

import * as $ from "capnp-es";
export const PluginEnvelope_Message_Which = {
  INIT: 0,
  EVENT: 1,
  /**
   * Not sent, and not read.
   *
   */
  ACK: 2,
  /**
   * Not sent, and not read.
   *
   */
  ERROR: 3,
} as const;
export type PluginEnvelope_Message_Which =
  (typeof PluginEnvelope_Message_Which)[keyof typeof PluginEnvelope_Message_Which];
export class PluginEnvelope_Message extends $.Struct {
  static readonly INIT = PluginEnvelope_Message_Which.INIT;
  static readonly EVENT = PluginEnvelope_Message_Which.EVENT;
  static readonly ACK = PluginEnvelope_Message_Which.ACK;
  static readonly ERROR = PluginEnvelope_Message_Which.ERROR;
  static override readonly _capnp = {
    displayName: "message",
    id: "da3d32ebed6a6fab",
    size: new $.ObjectSize(8, 1),
  };
  _adoptInit(value: $.Orphan<PluginInit>): void {
    $.utils.setUint16(0, 0, this);
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownInit(): $.Orphan<PluginInit> {
    return $.utils.disown(this.init);
  }
  get init(): PluginInit {
    $.utils.testWhich("init", $.utils.getUint16(0, this), 0, this);
    return $.utils.getStruct(0, PluginInit, this);
  }
  _hasInit(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initInit(): PluginInit {
    $.utils.setUint16(0, 0, this);
    return $.utils.initStructAt(0, PluginInit, this);
  }
  get _isInit(): boolean {
    return $.utils.getUint16(0, this) === 0;
  }
  set init(value: PluginInit) {
    $.utils.setUint16(0, 0, this);
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  _adoptEvent(value: $.Orphan<PluginEvent>): void {
    $.utils.setUint16(0, 1, this);
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownEvent(): $.Orphan<PluginEvent> {
    return $.utils.disown(this.event);
  }
  get event(): PluginEvent {
    $.utils.testWhich("event", $.utils.getUint16(0, this), 1, this);
    return $.utils.getStruct(0, PluginEvent, this);
  }
  _hasEvent(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initEvent(): PluginEvent {
    $.utils.setUint16(0, 1, this);
    return $.utils.initStructAt(0, PluginEvent, this);
  }
  get _isEvent(): boolean {
    return $.utils.getUint16(0, this) === 1;
  }
  set event(value: PluginEvent) {
    $.utils.setUint16(0, 1, this);
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  _adoptAck(value: $.Orphan<PluginAck>): void {
    $.utils.setUint16(0, 2, this);
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownAck(): $.Orphan<PluginAck> {
    return $.utils.disown(this.ack);
  }
  /**
   * Not sent, and not read.
   *
   */
  get ack(): PluginAck {
    $.utils.testWhich("ack", $.utils.getUint16(0, this), 2, this);
    return $.utils.getStruct(0, PluginAck, this);
  }
  _hasAck(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initAck(): PluginAck {
    $.utils.setUint16(0, 2, this);
    return $.utils.initStructAt(0, PluginAck, this);
  }
  get _isAck(): boolean {
    return $.utils.getUint16(0, this) === 2;
  }
  set ack(value: PluginAck) {
    $.utils.setUint16(0, 2, this);
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  _adoptError(value: $.Orphan<PluginError>): void {
    $.utils.setUint16(0, 3, this);
    $.utils.adopt(value, $.utils.getPointer(0, this));
  }
  _disownError(): $.Orphan<PluginError> {
    return $.utils.disown(this.error);
  }
  /**
   * Not sent, and not read.
   *
   */
  get error(): PluginError {
    $.utils.testWhich("error", $.utils.getUint16(0, this), 3, this);
    return $.utils.getStruct(0, PluginError, this);
  }
  _hasError(): boolean {
    return !$.utils.isNull($.utils.getPointer(0, this));
  }
  _initError(): PluginError {
    $.utils.setUint16(0, 3, this);
    return $.utils.initStructAt(0, PluginError, this);
  }
  get _isError(): boolean {
    return $.utils.getUint16(0, this) === 3;
  }
  set error(value: PluginError) {
    $.utils.setUint16(0, 3, this);
    $.utils.copyFrom(value, $.utils.getPointer(0, this));
  }
  override toString(): string {
    return "PluginEnvelope_Message_" + super.toString();
  }
  which(): PluginEnvelope_Message_Which {
    return $.utils.getUint16(0, this) as PluginEnvelope_Message_Which;
  }
}
export class PluginEnvelope extends $.Struct {
  static override readonly _capnp = {
    displayName: "PluginEnvelope",
    id: "e27d08f7f524d030",
    size: new $.ObjectSize(8, 1),
  };
  get message(): PluginEnvelope_Message {
    return $.utils.getAs(PluginEnvelope_Message, this);
  }
  _initMessage(): PluginEnvelope_Message {
    return $.utils.getAs(PluginEnvelope_Message, this);
  }
  override toString(): string {
    return "PluginEnvelope_" + super.toString();
  }
}
/**
 * Which plugin this is; the first message of each process.
 *
 */
export class PluginInit extends $.Struct {
  static override readonly _capnp = {
    displayName: "PluginInit",
    id: "9a237132f8bc78bd",
    size: new $.ObjectSize(0, 4),
  };
  /**
   * As it is installed, not as the instance is labelled.
   *
   */
  get pluginName(): string {
    return $.utils.getText(0, this);
  }
  set pluginName(value: string) {
    $.utils.setText(0, value, this);
  }
  get version(): string {
    return $.utils.getText(1, this);
  }
  set version(value: string) {
    $.utils.setText(1, value, this);
  }
  /**
   * As `dbx plugin install` recorded it, such as x86_64-unknown-linux-gnu.
   *
   */
  get target(): string {
    return $.utils.getText(2, this);
  }
  set target(value: string) {
    $.utils.setText(2, value, this);
  }
  /**
   * Not set: this stream is the only way.
   *
   */
  get transport(): string {
    return $.utils.getText(3, this);
  }
  set transport(value: string) {
    $.utils.setText(3, value, this);
  }
  override toString(): string {
    return "PluginInit_" + super.toString();
  }
}
/**
 * A committed event, and its aggregate as it was right after it.
 *
 */
export class PluginEvent extends $.Struct {
  static override readonly _capnp = {
    displayName: "PluginEvent",
    id: "9516a9911c36711c",
    size: new $.ObjectSize(40, 12),
  };
  static _StateEntries: $.ListCtor<StateEntry>;
  /**
   * Counts the deliveries to this plugin since it was configured; what is delivered again may have
   * its former number or a later one.
   *
   */
  get sequence(): bigint {
    return $.utils.getUint64(0, this);
  }
  set sequence(value: bigint) {
    $.utils.setUint64(0, value, this);
  }
  get aggregateType(): string {
    return $.utils.getText(0, this);
  }
  set aggregateType(value: string) {
    $.utils.setText(0, value, this);
  }
  get aggregateId(): string {
    return $.utils.getText(1, this);
  }
  set aggregateId(value: string) {
    $.utils.setText(1, value, this);
  }
  get eventType(): string {
    return $.utils.getText(2, this);
  }
  set eventType(value: string) {
    $.utils.setText(2, value, this);
  }
  get eventVersion(): bigint {
    return $.utils.getUint64(8, this);
  }
  set eventVersion(value: bigint) {
    $.utils.setUint64(8, value, this);
  }
  /**
   * A UUID: the same whenever the event is delivered again.
   *
   */
  get eventId(): string {
    return $.utils.getText(3, this);
  }
  set eventId(value: string) {
    $.utils.setText(3, value, this);
  }
  get createdAtEpochMicros(): bigint {
    return $.utils.getInt64(16, this);
  }
  set createdAtEpochMicros(value: bigint) {
    $.utils.setInt64(16, value, this);
  }
  get payloadJson(): string {
    return $.utils.getText(4, this);
  }
  set payloadJson(value: string) {
    $.utils.setText(4, value, this);
  }
  get metadataJson(): string {
    return $.utils.getText(5, this);
  }
  set metadataJson(value: string) {
    $.utils.setText(5, value, this);
  }
  get hash(): string {
    return $.utils.getText(6, this);
  }
  set hash(value: string) {
    $.utils.setText(6, value, this);
  }
  get merkleRoot(): string {
    return $.utils.getText(7, this);
  }
  set merkleRoot(value: string) {
    $.utils.setText(7, value, this);
  }
  get stateVersion(): bigint {
    return $.utils.getUint64(24, this);
  }
  set stateVersion(value: bigint) {
    $.utils.setUint64(24, value, this);
  }
  get stateArchived(): boolean {
    return $.utils.getBit(256, this);
  }
  set stateArchived(value: boolean) {
    $.utils.setBit(256, value, this);
  }
  get stateMerkleRoot(): string {
    return $.utils.getText(8, this);
  }
  set stateMerkleRoot(value: string) {
    $.utils.setText(8, value, this);
  }
  _adoptStateEntries(value: $.Orphan<$.List<StateEntry>>): void {
    $.utils.adopt(value, $.utils.getPointer(9, this));
  }
  _disownStateEntries(): $.Orphan<$.List<StateEntry>> {
    return $.utils.disown(this.stateEntries);
  }
  /**
   * In the order of keys.
   *
   */
  get stateEntries(): $.List<StateEntry> {
    return $.utils.getList(9, PluginEvent._StateEntries, this);
  }
  _hasStateEntries(): boolean {
    return !$.utils.isNull($.utils.getPointer(9, this));
  }
  _initStateEntries(length: number): $.List<StateEntry> {
    return $.utils.initList(9, PluginEvent._StateEntries, length, this);
  }
  set stateEntries(value: $.List<StateEntry>) {
    $.utils.copyFrom(value, $.utils.getPointer(9, this));
  }
  /**
   * The schema that is declared now; empty without one.
   *
   */
  get schemaJson(): string {
    return $.utils.getText(10, this);
  }
  set schemaJson(value: string) {
    $.utils.setText(10, value, this);
  }
  /**
   * Not set.
   *
   */
  get extensionsJson(): string {
    return $.utils.getText(11, this);
  }
  set extensionsJson(value: string) {
    $.utils.setText(11, value, this);
  }
  override toString(): string {
    return "PluginEvent_" + super.toString();
  }
}
export class StateEntry extends $.Struct {
  static override readonly _capnp = {
    displayName: "StateEntry",
    id: "cd3de7eca2f91dd7",
    size: new $.ObjectSize(0, 2),
  };
  get key(): string {
    return $.utils.getText(0, this);
  }
  set key(value: string) {
    $.utils.setText(0, value, this);
  }
  /**
   * Texts as they are; objects and arrays as JSON without blanks.
   *
   */
  get value(): string {
    return $.utils.getText(1, this);
  }
  set value(value: string) {
    $.utils.setText(1, value, this);
  }
  override toString(): string {
    return "StateEntry_" + super.toString();
  }
}
export class PluginAck extends $.Struct {
  static override readonly _capnp = {
    displayName: "PluginAck",
    id: "90d8f947256672bf",
    size: new $.ObjectSize(8, 0),
  };
  get sequence(): bigint {
    return $.utils.getUint64(0, this);
  }
  set sequence(value: bigint) {
    $.utils.setUint64(0, value, this);
  }
  override toString(): string {
    return "PluginAck_" + super.toString();
  }
}
export class PluginError extends $.Struct {
  static override readonly _capnp = {
    displayName: "PluginError",
    id: "f037b6dd03db2b86",
    size: new $.ObjectSize(8, 1),
  };
  get sequence(): bigint {
    return $.utils.getUint64(0, this);
  }
  set sequence(value: bigint) {
    $.utils.setUint64(0, value, this);
  }
  get message(): string {
    return $.utils.getText(0, this);
  }
  set message(value: string) {
    $.utils.setText(0, value, this);
  }
  override toString(): string {
    return "PluginError_" + super.toString();
  }
}
PluginEvent._StateEntries = $.CompositeList(StateEntry);
