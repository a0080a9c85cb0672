// What the phone page says, in Chinese and English.
const ZH = {
  title: "沙盒：三部手机，一位买家", who: "买家 林小满 · 139 0000 1234", clock: "时钟", shop: "店铺系统", decisions: "网关决定了什么，为什么",
  phones: "三部手机", guide: "跟着走一遍", other: "English", otherLabel: "Switch to English", send: "发送",
  placeholder: "以买家身份说点什么", next: "下一件定时的事：", none: "没有定时的事",
  h1: "+1 小时", h2: "+2 小时", d1: "+1 天", nextButton: "到下一件事",
  verbs: { place: "下单", pay: "付款", cancel: "取消订单", ship: "发货", arrive: "到达城市", out: "派送", deliver: "签收", refund: "申请退款", abandon: "留下购物车" },
  noOrders: "还没有订单。先点“下单”，后面的动作都对最新一单。",
  empty: { wechat: "说“会员”办一张会员卡，或点下面的菜单。", messenger: "说“会员”。留下同一个号码，就还是同一位买家。", twilio: "发短信“会员”，回 1 就办好。", alibaba: "这条线路只发审批过的模板短信。" },
  kind: { wechat: "微信服务号", messenger: "Messenger", twilio: "短信", alibaba: "模板短信（阿里云）" },
  menu: { member_card: "会员卡", coupons: "领券", orders: "我的订单" }, tapped: "点了菜单：", followed: "关注了公众号", typing: "正在输入", card: "会员卡二维码",
  steps: [
    ["说“会员”办卡", "在短信手机上发“会员”，再回 1。微信和 Messenger 也行：报 13900001234，验证码会到短信手机上。"],
    ["领一张券", "在同一部手机上发“领 RACE50”，或说“优惠券”看有什么。"],
    ["下一个订单", "点右边店铺系统的“下单”，订单记在林小满名下。"],
    ["把钟拨 +2 小时", "点“+2 小时”：还没付款，网关会提醒一次。"],
    ["收到催付后付款", "看到提醒后点“付款”，手机上会收到感谢和发货承诺。"],
  ],
  allDone: "走完了。接着试：发货、签收、留下购物车再拨一天，或回复“退订”。",
  outcome: { send: "发出", defer: "稍后", skip: "不发" }, until: "等到", noDecision: "买家说话或店铺有动静后，每一次发与不发、为什么，都写在这里。",
  state: { sent: "✓ 已发", delivered: "✓✓ 送达", read: "✓✓ 已读" }, failed: "没有成功：", offline: "连不上网关，正在重试…",
  order: { unpaid: "待付款", paid: "已付款", cancelled: "已取消", ship: "已发货", arrive: "到达城市", out: "派送中", deliver: "已签收" },
  purpose: { reply: "回复", code: "验证码", service: "服务通知", marketing: "营销" },
  rule: {
    consent: "同意营销", opt_out: "退订", blocked: "运营商拦截", staff_own: "人工接待中", window: "回复时限", quota: "回复条数", marketing_hours: "营销时段", service_hours: "服务时段",
    marketing_per_week: "每周营销条数", marketing_per_day: "每天营销条数", service_per_day: "每天通知条数", reachable: "能否送达", address: "联系方式", template: "模板", reason_holds: "事由还在",
    not_after: "最晚时间", already_sent: "已经发过", freshness: "消息太旧", conversation: "买家正在聊", closes_too_soon: "订单太快关闭", channel: "渠道", spend: "短信费用",
  },
  reason: {
    opted_out: "买家已退订", no_consent: "买家没有同意营销", blocked: "号码被运营商拦截", no_address: "没有联系方式", unreachable: "买家已取消关注或停机", window_closed: "过了平台的回复时限，也没有号码可发短信",
    quota_used: "平台的回复条数用完了", no_template: "没有可用的模板", staff_own: "人工正在接待", cap_reached: "达到条数上限", reason_gone: "事由已经不在了", too_late: "过了最晚时间", stale: "消息太旧",
    already_sent: "已经发过", closes_too_soon: "订单关闭得太快", buyer_active: "买家正在聊", ordered_since: "买家已经下单", left_club: "已注销会员", erased: "资料已删除", cancelled: "已取消", spend_limit: "短信费用到上限", call_made: "已电话联系",
  },
  key: {
    welcome: "欢迎语", help: "帮助", fallback: "没听懂", join_ask_phone: "问手机号", join_by_sms: "短信入会", join_phone_again: "号码再核对", phone_code: "短信验证码", code_sent: "验证码已发", code_wrong: "验证码不对",
    card_issued: "开卡", card_show: "看会员卡", card_picture: "会员卡二维码", card_gift: "开卡礼", ask_name: "问称呼", ask_birthday: "问生日", ask_gender: "问性别", ask_size: "问尺码", ask_marketing: "问是否收优惠", profile_done: "资料记好",
    consent_yes: "同意营销", consent_no: "不收优惠", opt_out_done: "退订确认", opt_in_done: "恢复确认", wallet: "券包", coupons_offer: "可领的券", coupon_won: "领到券", coupon_again: "同一张券", coupon_sold_out: "券领完了",
    coupon_expiring: "券快到期", orders_list: "我的订单", orders_none: "没有订单", payment_reminder: "催付", payment_reminder_returning: "催付（老客）", order_paid_first: "付款感谢（首单）", order_paid: "付款感谢", order_shipped: "发货通知",
    parcel_in_city: "到达城市", parcel_out: "派送通知", parcel_delivered: "签收通知", review_invite: "请评价", refund_received: "退款受理", cart_1: "购物车提醒 1", cart_2: "购物车提醒 2", cart_3: "购物车提醒 3", handover_open: "转人工", handover_closed: "人工下班",
    left_club: "已注销会员", my_data: "我的信息", dialog_left: "退出对话", number_by_chat: "改号",
  },
};
const EN = {
  title: "Sandbox: three phones, one buyer", who: "Buyer 林小满 · +86 139 0000 1234", clock: "Clock", shop: "Shop system", decisions: "What the gateway decided, and why",
  phones: "Three phones", guide: "Walk through it", other: "中文", otherLabel: "切换到中文", send: "Send",
  placeholder: "Write as the buyer", next: "Next due: ", none: "Nothing is scheduled",
  h1: "+1 hour", h2: "+2 hours", d1: "+1 day", nextButton: "To next event",
  verbs: { place: "Place order", pay: "Pay", cancel: "Cancel order", ship: "Ship", arrive: "Reach city", out: "Out for delivery", deliver: "Deliver", refund: "Ask for refund", abandon: "Leave a cart" },
  noOrders: "No order yet. Place one first; the other verbs act on the newest order.",
  empty: { wechat: "Say 会员 (or member) to open a card, or use the menu below.", messenger: "Say member. With the same number it is the same buyer.", twilio: "Text member, answer 1, done.", alibaba: "This line sends approved templates only." },
  kind: { wechat: "WeChat account", messenger: "Messenger", twilio: "Text messages", alibaba: "Template SMS (Alibaba)" },
  menu: { member_card: "Card", coupons: "Coupons", orders: "Orders" }, tapped: "Menu: ", followed: "Followed the account", typing: "typing", card: "QR code of the member card",
  steps: [
    ["Say 会员", "Text 会员 (or member) on the SMS phone and answer 1. WeChat and Messenger work too: give 13900001234, the code arrives on the SMS phone."],
    ["Claim a coupon", "On the same phone say “claim RACE50” (or 领 RACE50), or coupon to see what there is."],
    ["Place an order", "Press “Place order” under Shop system: the order is 林小满's."],
    ["Move the clock +2 h", "Press “+2 hours”: nothing is paid yet, so the gateway reminds once."],
    ["Pay after the reminder", "Press “Pay”: the phone gets thanks and a promise when it ships."],
  ],
  allDone: "That was the tour. Now try: ship, deliver, leave a cart and move a day on, or answer STOP.",
  outcome: { send: "sent", defer: "later", skip: "not sent" }, until: "held until", noDecision: "Once the buyer writes or the shop acts, every send and non-send is explained here.",
  state: { sent: "✓ sent", delivered: "✓✓ delivered", read: "✓✓ read" }, failed: "That did not work: ", offline: "The gateway does not answer, trying again…",
  order: { unpaid: "awaits payment", paid: "paid", cancelled: "cancelled", ship: "shipped", arrive: "in the city", out: "out for delivery", deliver: "delivered" },
  purpose: { reply: "reply", code: "code", service: "service", marketing: "marketing" },
  rule: {}, key: { join_by_sms: "Join by text", order_paid_first: "Thanks for the first order", order_paid: "Thanks for paying", fallback: "Not understood", coupon_won: "Coupon claimed", phone_code: "Code by text", join_ask_phone: "Ask for the number", ask_marketing: "Ask about offers", cart_1: "Cart reminder 1", cart_2: "Cart reminder 2", cart_3: "Cart reminder 3" },
  reason: {
    opted_out: "the buyer opted out", no_consent: "the buyer never agreed to marketing", no_address: "no way to reach the buyer", unreachable: "unfollowed or switched off", window_closed: "the reply window is over and no number is known",
    quota_used: "the platform's replies are used up", no_template: "no template for it", staff_own: "staff are in the chat", cap_reached: "the cap is reached", reason_gone: "its reason is gone", too_late: "too late", stale: "too old",
    already_sent: "sent before", closes_too_soon: "the order closes too soon", buyer_active: "the buyer is chatting", ordered_since: "the buyer has ordered", left_club: "left the club",
  },
};
export const WORDS = { "zh-CN": ZH, en: EN };

/** A name of the engine in plain words: the listed ones, else spelt out. */
export function plain(table, name) {
  if (!name) return "";
  const spelt = name.replaceAll("_", " ");
  return table[name] || spelt[0].toUpperCase() + spelt.slice(1);
}
