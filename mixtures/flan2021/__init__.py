"""Flan 2021: a module a cluster, and the collection as a whole."""

from mixtures.flan2021 import collection as collection
from mixtures.flan2021 import common_sense as common_sense
from mixtures.flan2021 import conversational_qa as conversational_qa
from mixtures.flan2021 import coreference as coreference
from mixtures.flan2021 import entailment as entailment
from mixtures.flan2021 import linguistic_acceptability as linguistic_acceptability
from mixtures.flan2021 import math as math
from mixtures.flan2021 import open_domain_qa as open_domain_qa
from mixtures.flan2021 import paraphrase as paraphrase
from mixtures.flan2021 import question_classification as question_classification
from mixtures.flan2021 import read_comp_and_common_sense as read_comp_and_common_sense
from mixtures.flan2021 import reading_comprehension as reading_comprehension
from mixtures.flan2021 import sentiment as sentiment
from mixtures.flan2021 import structure_to_text as structure_to_text
from mixtures.flan2021 import summarization as summarization
from mixtures.flan2021 import summarization_beyond_news as summarization_beyond_news
from mixtures.flan2021 import text_formatting as text_formatting
from mixtures.flan2021 import translation as translation
from mixtures.flan2021 import word_disambiguation as word_disambiguation
