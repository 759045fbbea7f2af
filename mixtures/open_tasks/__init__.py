"""Open data sets that Flan 2021 does not have: a module a cluster, by the names of Flan 2021's clusters where these fit."""

from mixtures.open_tasks import common_sense as common_sense
from mixtures.open_tasks import coreference as coreference
from mixtures.open_tasks import math as math
from mixtures.open_tasks import ner as ner
from mixtures.open_tasks import open_domain_qa as open_domain_qa
from mixtures.open_tasks import question_rewriting as question_rewriting
from mixtures.open_tasks import reading_comprehension as reading_comprehension
from mixtures.open_tasks import sentiment as sentiment
from mixtures.open_tasks import summarization as summarization
from mixtures.open_tasks import topic_classification as topic_classification
from mixtures.open_tasks import translation as translation
