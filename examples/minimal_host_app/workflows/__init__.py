"""The application's workflows, found by way of SQUIDMESH_WORKFLOWS: a module each.

Steps are ordinary functions, called in the application's context. What they
write through `db.session` is committed by the engine together with the step,
in one transaction: once, whatever happens to the worker. So they do not
commit, and they make their outside calls before their first query: no
transaction is open meanwhile.

Times are short, so that everything here can be watched: think of hours or days.
"""

from minimal_host_app.workflows.cancellable_wait import CancellableWait
from minimal_host_app.workflows.daily_digest import DailyDigest
from minimal_host_app.workflows.dependency_recovery import DependencyRecovery
from minimal_host_app.workflows.local_ledger_checkout import LocalLedgerCheckout
from minimal_host_app.workflows.manual_approval import ManualApproval
from minimal_host_app.workflows.payment_recovery import PaymentRecovery
from minimal_host_app.workflows.retry_verification import RetryVerification

__all__ = [
    "CancellableWait",
    "DailyDigest",
    "DependencyRecovery",
    "LocalLedgerCheckout",
    "ManualApproval",
    "PaymentRecovery",
    "RetryVerification",
]
