/** Every text of console and overlay, in both languages; the browser's language decides until somebody chooses. */

export const WORDS = {
  app: ["Ribcage", "Ribcage"],
  signIn: ["Log in", "登录"],
  signOut: ["Log out", "退出"],
  username: ["Username", "用户名"],
  password: ["Password", "密码"],
  wrongName: ["Username or password is wrong.", "用户名或密码不正确。"],
  tooMany: ["Too many attempts; wait a moment.", "尝试过于频繁，请稍候。"],
  tryAgain: ["Not done. Try again; tell the administrator if it stays.", "未完成。请重试；若仍失败请联系管理员。"],
  images: ["Images", "影像"],
  search: ["Search", "查询"],
  searching: ["Searching…", "查询中…"],
  name: ["Patient name", "姓名"],
  patientId: ["Patient ID", "患者编号"],
  accession: ["Accession number", "检查号"],
  date: ["Study date", "检查日期"],
  dateHint: ["YYYYMMDD or a range with -", "年月日，如 20250102，或用 - 表示区间"],
  modality: ["Modality", "设备"],
  description: ["Description", "说明"],
  count: ["Images", "幅数"],
  view: ["View", "视图"],
  open: ["Open", "阅片"],
  nothing: ["No study found, or none that you may see.", "未找到，或您无权查看。"],
  more: ["There are more; narrow the search.", "还有更多结果，请缩小范围。"],
  notFound: ["There is no such page.", "没有此页面。"],
  language: ["中文", "English"],
  masked: ["Masked", "已脱敏"],
  full: ["Full record", "完整信息"],
  none: ["No access", "无权限"],
  loading: ["Loading…", "载入中…"],
  fullUntil: ["Full record, {0} left", "完整信息，剩余 {0}"],
  fullShift: ["Full record, assigned reader", "完整信息（责任医师）"],
  pixels: ["Text inside the picture is not checked", "画面内文字未经核查"],
  diagnosis: ["Not a certified diagnostic display", "非认证诊断显示"],
  showFull: ["Show full record", "查看完整信息"],
  code: ["One-time code", "动态口令"],
  proveTitle: ["Second factor", "二次认证"],
  proveText: ["The full record is shown after your second factor. This is recorded.", "完成二次认证后显示完整信息，并留下记录。"],
  maskedList: ["Names and IDs are masked and cannot be searched before your second factor.", "二次认证前，姓名和编号已脱敏，且不能用于查询。"],
  confirm: ["Confirm", "确认"],
  cancel: ["Cancel", "取消"],
  wrongCode: ["The code is wrong or was used.", "口令不正确或已使用。"],
  ended: ["Your session has ended.", "会话已结束。"],
  revoked: ["Your right to see this study was withdrawn.", "您查看此检查的授权已被撤销。"],
  refused: ["You may not see this study.", "您无权查看此检查。"],
  lapsed: ["Your second factor has run out.", "二次认证已过期。"],
  unreachable: ["The archive does not answer; the picture is covered until it does.", "无法连接影像系统；恢复前画面已遮盖。"],
  reload: ["Reload", "重新载入"],
  goOnMasked: ["Go on masked", "以脱敏方式继续"],
  toList: ["To the list", "返回列表"],
} as const satisfies Record<string, readonly [string, string]>;

export type Word = keyof typeof WORDS;
export type Language = "en" | "zh";

const KEPT_AS = "ribcage-language"; // the only thing that the console keeps in the browser

/** The language chosen before, else the browser's. */
export function language(): Language {
  const kept = localStorage.getItem(KEPT_AS);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Keep the choice. */
export function keepLanguage(chosen: Language): void {
  localStorage.setItem(KEPT_AS, chosen);
}

/** One text; `{0}` stands for `value`. */
export function say(word: Word, chosen: Language, value = ""): string {
  return WORDS[word][chosen === "en" ? 0 : 1].replace("{0}", value);
}
