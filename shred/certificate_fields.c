/* The fields of a certificate of destruction: one table for who writes, who checks and who shows.
 */
#include "shred/certificate_internal.h"

#include <errno.h>
#include <string.h>

const struct certificate_field certificate_fields[] = {
    {"number", FIELD_ONCE, "销毁单编号", "Order number", "销毁单", "Order"},
    {"volume", FIELD_ONCE, "加密卷标识", "Volume id", NULL, NULL},
    {"volume-name", FIELD_ONCE, "加密卷名称", "Volume name", NULL, NULL},
    {"charter", FIELD_ONCE, "章程摘要", "Charter digest", NULL, NULL},
    {"charter-first", FIELD_ONCE, "首份章程指纹", "First charter's fingerprint", NULL, NULL},
    {"order-digest", FIELD_ONCE, "销毁单摘要", "Order digest", NULL, NULL},
    {"unit", FIELD_ONCE, "单位", "Unit", "数据退役登记", "Retirement form"},
    {"description", FIELD_ONCE, "数据说明", "Description of the data", NULL, NULL},
    {"reason", FIELD_ONCE, "销毁原因", "Reason", NULL, NULL},
    {"legal-basis", FIELD_ONCE, "法律依据", "Legal basis", NULL, NULL},
    {"requested-method", FIELD_ONCE, "申请的销毁方式", "Method requested", NULL, NULL},
    {"backups", FIELD_ONCE, "备份处理", "Backups", NULL, NULL},
    {"requested", FIELD_ONCE, "申请时间", "Requested at", "申请与审批", "Request and approvals"},
    {"requester", FIELD_ONCE, "申请人|工号", "Requester|number", NULL, NULL},
    {"approver", FIELD_ANY, "审批人|工号|角色|时间", "Approver|number|role|time", NULL, NULL},
    {"began", FIELD_ONCE, "开始执行时间", "Execution began", "销毁方式", "Method"},
    {"completed", FIELD_ONCE, "签发时间", "Certified at", NULL, NULL},
    {"method", FIELD_ANY, "销毁方法", "Method of sanitization", NULL, NULL},
    {"tool", FIELD_ONCE, "工具及版本", "Tool and version", NULL, NULL},
    {"medium", FIELD_ANY, "存储介质", "Medium", NULL, NULL},
    {"ids", FIELD_ONCE, "销毁对象数", "Ids destroyed", "范围", "Extent"},
    {"kept", FIELD_ONCE, "保留对象数", "Ids listed and kept", NULL, NULL},
    {"ranges", FIELD_ONCE, "编号区间数", "Ranges of ids", NULL, NULL},
    {"ranges-digest", FIELD_ONCE, "编号区间摘要", "Digest of the ranges", NULL, NULL},
    {"bytes", FIELD_ONCE, "在线数据字节数", "Bytes of live data", NULL, NULL},
    {"bytes-overwritten", FIELD_ONCE, "覆写字节数（至少）", "Bytes overwritten (at least)", NULL,
     NULL},
    {"generation", FIELD_ONCE, "密钥代次", "Key generation", NULL, NULL},
    {"live-open", FIELD_ONCE, "仍可打开的在线对象", "Live ids that still open", "核验结果",
     "Verification"},
    {"set-records", FIELD_ONCE, "备份中已检查的记录", "Records in sets, tried", NULL, NULL},
    {"set-open", FIELD_ONCE, "备份中仍可打开的", "Of them, that still open", NULL, NULL},
    {"sets", FIELD_ONCE, "已检查的备份集", "Sets looked at", NULL, NULL},
    {"sets-unread", FIELD_ONCE, "无法读取索引的备份集", "Sets whose index did not read", NULL,
     NULL},
    {"raw-samples", FIELD_ONCE, "存储中已查找的密文文件", "Object files looked for", NULL, NULL},
    {"raw-open", FIELD_ONCE, "其中仍存在的", "Of them, still there", NULL, NULL},
    {"escrows-pending", FIELD_ONCE, "未确认的密钥托管", "Escrows not confirmed", "密钥托管与备份库",
     "Escrows and repositories"},
    {"escrow", FIELD_ANY, "密钥托管|状态", "Escrow|state", NULL, NULL},
    {"repository", FIELD_ANY, "已通告的备份库", "Repository reached", NULL, NULL},
    {"trail-size", FIELD_ONCE, "审计记录条数", "Trail entries", "审计检查点", "Trail checkpoint"},
    {"trail-root", FIELD_ONCE, "审计树根", "Trail root", NULL, NULL},
    {"limit-zh", FIELD_ANY, "说明", "Limits (Chinese)", "如实说明", "Honest limits"},
    {"limit-en", FIELD_ANY, "说明（英文）", "Limits", NULL, NULL},
};
const size_t certificate_n_fields = sizeof(certificate_fields) / sizeof(certificate_fields[0]);

int certificate_parse(const char *text, struct note *ret)
{
	struct note n = {0};
	size_t at = 0;
	int r = note_parse(text, &n);

	if (r)
		return r;
	if (strcmp(n.type, CERTIFICATE_TYPE) != 0)
		r = -EUCLEAN;
	else if (n.version != CERTIFICATE_VERSION)
		r = n.version > CERTIFICATE_VERSION ? -EPROTONOSUPPORT : -EUCLEAN;
	for (size_t i = 0; i < certificate_n_fields && r == 0; i++) {
		const struct certificate_field *f = &certificate_fields[i];
		size_t times = 0;

		for (; at < n.n_fields && strcmp(n.fields[at].key, f->key) == 0; at++)
			times++;
		if (f->times == FIELD_ONCE && times != 1)
			r = -EUCLEAN;
	}
	if (r == 0 && at != n.n_fields)
		r = -EUCLEAN;
	if (r) {
		note_free(&n);
		return r;
	}
	*ret = n;
	return 0;
}
