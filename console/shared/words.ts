/** Texts that console and overlay share, in both languages. */

import { pick, type Language } from "./language";

export const WORDS = {
  signIn: ["Log in", "登录"],
  tooMany: ["Too many attempts; wait a moment.", "尝试过于频繁，请稍候。"],
  tryAgain: ["Not done. Try again; tell the administrator if it stays.", "未完成。请重试；若仍失败请联系管理员。"],
  preview: ["Preview; the viewer is being loaded", "预览；阅片器载入中"],
  masked: ["Masked", "已脱敏"],
  loading: ["Loading…", "载入中…"],
  fullUntil: ["Full record, {0} left", "完整信息，剩余 {0}"],
  fullShift: ["Full record, assigned reader", "完整信息（责任医师）"],
  pixels: ["Text inside the picture is not checked", "画面内文字未经核查"],
  diagnosis: ["Not a certified diagnostic display", "非认证诊断显示"],
  showFull: ["Show full record", "查看完整信息"],
  code: ["One-time code", "动态口令"],
  codeHint: ["Six digits of your app, or a recovery code", "应用中的六位数字，或恢复码"],
  usePasskey: ["Use a passkey", "使用通行密钥"],
  passkeyNot: ["No passkey was used.", "未使用通行密钥。"],
  proveTitle: ["Second factor", "二次认证"],
  proveText: ["The full record is shown after your second factor. This is recorded.", "完成二次认证后显示完整信息，并留下记录。"],
  confirm: ["Confirm", "确认"],
  cancel: ["Cancel", "取消"],
  wrongCode: ["The code is wrong or was used.", "口令不正确或已使用。"],
  ended: ["Your session has ended.", "会话已结束。"],
  revoked: ["Your right to see this study was withdrawn.", "您查看此检查的授权已被撤销。"],
  refused: ["You may not see this study.", "您无权查看此检查。"],
  lapsed: ["Your second factor has run out; the masked view follows.", "二次认证已过期，正在切换为脱敏视图。"],
  unreachable: ["The archive does not answer; the picture is covered until it does.", "无法连接影像系统；恢复前画面已遮盖。"],
  needsFactor: ["This picture is refused in the masked view. Show the full record to see it.", "脱敏视图不提供该影像，请查看完整信息。"],
  noPicture: ["Nothing here that the viewer can show. Choose another series, or go back to the list.", "此处没有可显示的影像。请选择其他序列，或返回列表。"],
  unknownSyntax: ["This picture cannot be shown: its compression is not known here. Fetch it to a workstation that knows it.", "该影像无法显示：不支持其压缩格式。请用支持该格式的工作站调取。"],
  damaged: ["This picture cannot be shown: it is damaged, or compressed in an unknown way. Tell the administrator.", "该影像无法显示：数据损坏或压缩方式未知。请告知管理员。"],
  notGiven: ["The archive could not give this picture. Reload; tell the administrator if it stays.", "系统未能提供该影像。请重新载入；若仍失败请告知管理员。"],
  hide: ["Close this message", "关闭此提示"],
  reload: ["Reload", "重新载入"],
  toList: ["Back to the list", "返回列表"],
  viewer: ["Viewer", "阅片器"],
  emergency: ["Emergency access", "紧急调阅"],
} as const satisfies Record<string, readonly [string, string]>;

export type Word = keyof typeof WORDS;

/** One text; `{0}` stands for `value`. */
export function say(word: Word, chosen: Language, value = ""): string {
  return pick(WORDS, word, chosen, value);
}

/** What a refused second factor means. */
export function whyNotProved(status: number, code: string): "passkeyNot" | "wrongCode" | "tooMany" | "tryAgain" {
  if (code === "passkey") return "passkeyNot";
  if (status === 429) return "tooMany";
  return status >= 400 && status < 500 ? "wrongCode" : "tryAgain";
}
