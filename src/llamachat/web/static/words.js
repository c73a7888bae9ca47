// What the page says, in English and Chinese. English is the source; a test compares the keys.

const en = {
  more: "More", newChat: "New chat", search: "Search", searchHint: "Search all conversations", menu: "Conversations", send: "Send", stop: "Stop",
  message: "Message", hint: "Enter sends, Shift-Enter makes a new line", copy: "Copy", copied: "Copied", edit: "Edit", retry: "Answer again",
  goOn: "Continue", undo: "Take back", pin: "Keep in the window", unpin: "Let go", rename: "Rename", keep: "Pin to the top", unkeep: "Unpin",
  remove: "Delete", reallyRemove: "Delete this conversation for good?", export: "Export", importIt: "Import", settings: "Settings", system: "System message",
  cancel: "Cancel", close: "Close", you: "You", model: "Model", thought: "Thoughts", thinking: "Thinking …", summary: "Summary of what is out of the window",
  stopped: "stopped", length: "cut at its greatest length", error: "broken off", outside: "no longer in the window", branch: "Version",
  previous: "Previous version", next: "Next version", reading: "Reading", waiting: "Waiting behind", others: "others", other: "other", lost: "The connection is lost. Trying again …",
  gone: "llamachat does not answer. Is `llamachat web` still running?", signedOut: "This address needs its key. Open the address that `llamachat web` printed.",
  attach: "Attach a file", lines: "lines pasted", unfold: "Show", nothing: "Nothing found.", empty: "Ask something.", window: "Window", tokens: "tokens", perSecond: "tokens/s",
  default: "default", untitled: "New conversation", answerDone: "Answer finished.", toEnd: "To the end", shortcuts: "Ctrl-K search · Ctrl-Shift-O new chat · Esc stop",
};

const zh = {
  more: "更多", newChat: "新对话", search: "搜索", searchHint: "搜索全部对话", menu: "对话列表", send: "发送", stop: "停止",
  message: "消息", hint: "按回车发送，Shift-回车换行", copy: "复制", copied: "已复制", edit: "编辑", retry: "重新回答",
  goOn: "继续", undo: "撤回", pin: "保留在窗口中", unpin: "取消保留", rename: "重命名", keep: "置顶", unkeep: "取消置顶",
  remove: "删除", reallyRemove: "彻底删除这个对话？", export: "导出", importIt: "导入", settings: "设置", system: "系统消息",
  cancel: "取消", close: "关闭", you: "你", model: "模型", thought: "思考过程", thinking: "思考中……", summary: "窗口外内容的摘要",
  stopped: "已停止", length: "达到最大长度而中断", error: "中断", outside: "已不在窗口中", branch: "版本",
  previous: "上一个版本", next: "下一个版本", reading: "正在读取", waiting: "前面还有", others: "个请求", other: "个请求", lost: "连接断开，正在重试……",
  gone: "llamachat 没有响应。`llamachat web` 还在运行吗？", signedOut: "需要密钥。请打开 `llamachat web` 打印的地址。",
  attach: "附加文件", lines: "行粘贴内容", unfold: "展开", nothing: "没有找到。", empty: "问点什么吧。", window: "窗口", tokens: "token", perSecond: "token/秒",
  default: "默认", untitled: "新对话", answerDone: "回答完成。", toEnd: "到末尾", shortcuts: "Ctrl-K 搜索 · Ctrl-Shift-O 新对话 · Esc 停止",
};

export const language = navigator.languages?.[0]?.toLowerCase().startsWith("zh") ? "zh" : "en";
export const words = language === "zh" ? zh : en;
export const all = { en, zh };
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
