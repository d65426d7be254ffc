"""Remote evaluation: answers for those who ask a server instead of evaluating by themselves, by the SDK's own evaluator
on what the feeds serve. Protocols (``api``) use it; it knows none of them."""

from fader_server.evaluation.evaluator import Evaluator
from fader_server.evaluation.evaluators import Evaluators

__all__ = ["Evaluator", "Evaluators"]
