//! The words of the printed forms, in English and Chinese.

use tidegate_schema::finding::Lang;

use crate::change::{Action, Confidence, Effect};
use crate::diff::RETAINED_BY;
use crate::plan::{Driver, OnFailure, ReleaseKind, Risk, TaskKind};

/// Picks one of two texts.
pub(super) fn pick(lang: Lang, en: &'static str, zh: &'static str) -> &'static str {
    match lang {
        Lang::En => en,
        Lang::Zh => zh,
    }
}

pub(super) fn action(lang: Lang, action: Action) -> &'static str {
    match action {
        Action::Create => pick(lang, "create", "新建"),
        Action::Configure => pick(lang, "change", "修改"),
        Action::Replace => pick(lang, "replace", "重建"),
        Action::Move => pick(lang, "move", "移交"),
        Action::Prune => pick(lang, "delete", "删除"),
        Action::Keep => pick(lang, "keep", "保留"),
    }
}

/// One character before an object.
pub(super) fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Configure => "~",
        Action::Replace => "±",
        Action::Move => "→",
        Action::Prune => "-",
        Action::Keep => "=",
    }
}

pub(super) fn release(lang: Lang, kind: ReleaseKind) -> &'static str {
    match kind {
        ReleaseKind::Release => pick(lang, "release", "发布"),
        ReleaseKind::Operation => pick(lang, "operation", "运维"),
        ReleaseKind::Test => pick(lang, "test", "测试"),
    }
}

pub(super) fn task(lang: Lang, kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Install => pick(lang, "install", "安装"),
        TaskKind::Deploy => pick(lang, "deploy", "部署"),
        TaskKind::ScaleOut => pick(lang, "scale out", "扩容"),
        TaskKind::ScaleIn => pick(lang, "scale in", "缩容"),
        TaskKind::Resize => pick(lang, "resize", "变配"),
        TaskKind::Restart => pick(lang, "restart", "重启"),
        TaskKind::TakeOffline => pick(lang, "take offline", "下线"),
        TaskKind::BringOnline => pick(lang, "bring online", "上线"),
        TaskKind::Test => pick(lang, "test", "测试"),
        TaskKind::Run => pick(lang, "run", "执行"),
        TaskKind::Apply => pick(lang, "apply", "应用"),
        TaskKind::Prune => pick(lang, "delete", "删除"),
        TaskKind::Grant => pick(lang, "grant", "授权"),
        TaskKind::Revoke => pick(lang, "revoke", "撤权"),
        TaskKind::Expire => pick(lang, "expire", "到期"),
        TaskKind::Resolve => pick(lang, "resolve", "解析"),
        TaskKind::Unresolve => pick(lang, "unresolve", "停止解析"),
        TaskKind::Correct => pick(lang, "correct", "纠正"),
        TaskKind::Rollback => pick(lang, "roll back", "回滚"),
        TaskKind::Cordon => pick(lang, "cordon", "停止调度"),
        TaskKind::Uncordon => pick(lang, "uncordon", "恢复调度"),
        TaskKind::Drain => pick(lang, "drain", "排空"),
        TaskKind::Uninstall => pick(lang, "uninstall", "卸载"),
    }
}

pub(super) fn risk(lang: Lang, risk: Risk) -> &'static str {
    match risk {
        Risk::Destructive => pick(lang, "destructive", "破坏性"),
        Risk::GainsPermission => pick(lang, "somebody gains permissions", "有人获得权限"),
        Risk::LosesPermission => pick(lang, "somebody loses permissions", "有人失去权限"),
        Risk::ChangesParameters => pick(lang, "an upgrade changes parameters", "升级改变参数"),
        Risk::ChangesPolicy => pick(lang, "policies or persons change", "策略或人员改变"),
        Risk::TakesOwnership => pick(lang, "takes fields from other managers", "接管他人字段"),
        Risk::Unverified => pick(lang, "not all could be verified", "部分未经验证"),
        Risk::ZoneGuard => pick(lang, "a zone changes much", "域名大幅变化"),
    }
}

pub(super) fn driver(lang: Lang, driver: Driver) -> &'static str {
    match driver {
        Driver::Whole => pick(lang, "at once", "一次完成"),
        Driver::Restart => pick(lang, "restart in groups", "分组重启"),
        Driver::Drain => pick(lang, "leave the node in groups", "分组离开节点"),
        Driver::StatefulSet | Driver::Deployment | Driver::DaemonSet => {
            pick(lang, "in groups", "分组")
        }
    }
}

pub(super) fn on_failure(lang: Lang, on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Pause => pick(lang, "a failure pauses", "失败时暂停"),
        OnFailure::Rollback => pick(lang, "a failure rolls back", "失败时回滚"),
    }
}

pub(super) fn confidence(lang: Lang, confidence: Confidence) -> Option<&'static str> {
    match confidence {
        Confidence::Exact => None,
        Confidence::Simulated => Some(pick(
            lang,
            "simulated: what it needs comes with this plan",
            "模拟：所需对象随本计划创建",
        )),
        Confidence::Unverified => {
            Some(pick(lang, "unverified: the server could not say", "未验证：服务器无法确认"))
        }
    }
}

/// Why an object is kept; other texts stay as they are.
pub(super) fn reason(lang: Lang, text: &str) -> String {
    if let (Lang::Zh, Some(name)) = (lang, text.strip_prefix(RETAINED_BY)) {
        return format!("由运维操作 {name} 保留");
    }
    let text = match (lang, text) {
        (Lang::Zh, "holds data") => "含有数据",
        (Lang::Zh, "kept for its log") => "为其日志而保留",
        (Lang::Zh, "made anew by somebody else") => "已由他人重新创建",
        (Lang::Zh, "never applied by us") => "我们从未应用过",
        (_, text) => text,
    };
    text.to_owned()
}

pub(super) fn pods(lang: Lang, pods: u32) -> String {
    match (lang, pods) {
        (Lang::En, 1) => "1 pod".to_owned(),
        (Lang::En, _) => format!("{pods} pods"),
        (Lang::Zh, _) => format!("{pods} 个 Pod"),
    }
}

pub(super) fn effect(lang: Lang, effect: &Effect) -> String {
    let own = |en: &'static str, zh: &'static str| pick(lang, en, zh).to_owned();
    match (effect, lang) {
        (Effect::PodsRestart { pods: n }, Lang::En) => format!("{} restart", pods(lang, *n)),
        (Effect::PodsRestart { pods: n }, Lang::Zh) => format!("{}重启", pods(lang, *n)),
        (Effect::PodsScale { from, to }, _) => format!("{from} → {}", pods(lang, *to)),
        (Effect::NoPodRestarts, _) => own("no pod restarts", "没有 Pod 重启"),
        (Effect::VolumeLost, _) => own("the volume and its data are lost", "存储卷及其数据将丢失"),
        (Effect::NamespaceLost { others }, _) if others.is_empty() => {
            own("everything in the namespace is lost", "命名空间中的一切将丢失")
        }
        (Effect::NamespaceLost { others }, Lang::En) => {
            format!("everything in the namespace is lost, also what is not ours: {others}")
        }
        (Effect::NamespaceLost { others }, Lang::Zh) => {
            format!("命名空间中的一切将丢失，包括不属于我们的：{others}")
        }
        (Effect::TakesThePlaceOf { object }, Lang::En) => format!("takes the place of {object}"),
        (Effect::TakesThePlaceOf { object }, Lang::Zh) => format!("取代 {object}"),
        (Effect::PlaceIsTakenBy { object }, Lang::En) => format!("its place is taken by {object}"),
        (Effect::PlaceIsTakenBy { object }, Lang::Zh) => format!("由 {object} 取代"),
        (Effect::AddressChanges, _) => own("the address changes", "地址会改变"),
        (Effect::GainsPermission { access }, Lang::En) => format!("gains access: {access}"),
        (Effect::GainsPermission { access }, Lang::Zh) => format!("获得权限：{access}"),
        (Effect::LosesPermission { access }, Lang::En) => format!("loses access: {access}"),
        (Effect::LosesPermission { access }, Lang::Zh) => format!("失去权限：{access}"),
    }
}

/// `90s`, `10m`, `2h`.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
