"""For every backward pass: drop a term, and the gradient check fails."""

import numpy as np
import pytest

from npgpt import layers, models, ops
from npgpt.gradients import check_suite
from npgpt.layers.recurrent import Recurrent
from npgpt.layers.sequence_attention import SequenceAttention
from npgpt.models.padding import Counted
from npgpt.models.token_input import TokenInput
from npgpt.models.unbounded import UnboundedModel
from npgpt.models.with_head import ModelWithHead
from npgpt.ops import reference
from tests.mutations import mutated
from tests.ops.test_compiled_equals_reference import assert_same
from tests.strategies import normal

# the gradient that goes round a branch of a post-norm block, which has several such lines
SUM, NO_SUM = "\n    dx = self._sum(self._round(dx), dbranch)", "\n    dx = dbranch"

# function, fragment, what it becomes, the example of npgpt.gradients.SUITE that must fail
MUTANTS = [
    (reference.embedding_backward, "np.add.at(dweight, token_ids, dy)", "dweight[token_ids] += dy", "Embedding"),
    (reference.linear_backward, "dweight += dy_rows.T @ x_rows", "dweight += 0.0", "Linear"),
    (reference.linear_backward, "dbias += dy_rows.sum(axis=0)", "dbias += dy_rows[0]", "Linear"),
    (reference.linear_backward, "dy_rows @ weight", "0.5 * dy_rows @ weight", "Linear"),
    (reference.layer_norm_backward, "direct - through_mean", "-through_mean", "LayerNorm"),
    (reference.layer_norm_backward, " - through_mean", "", "LayerNorm"),
    (reference.layer_norm_backward, " - through_variance", "", "LayerNorm"),
    (reference.layer_norm_backward, "dx_hat = gamma * dy\n", "dx_hat = dy\n", "LayerNorm"),
    (reference.layer_norm_backward, "dgamma += (dy * x_hat)", "dgamma += (dy * x)", "LayerNorm"),
    (reference.layer_norm_backward, "dbeta += dy.sum(axis=rows)", "dbeta += 0.0", "LayerNorm"),
    (reference.gelu_tanh_backward, "gate + slope", "gate", "GELU (tanh)"),
    (reference.gelu_tanh_backward, "gate + slope", "slope", "GELU (tanh)"),
    (reference.gelu_tanh_backward, "1.0 + 3.0 * CUBIC * x * x", "1.0", "GELU (tanh)"),
    (reference.gelu_exact_backward, "gate + x * density", "gate", "GELU (exact)"),
    (reference.gelu_exact_backward, "gate + x * density", "x * density", "GELU (exact)"),
    (reference.attention_backward, "dweights - shared", "dweights", "MultiHeadAttention"),
    (reference.attention_backward, "dweights = kept * dweights", "pass", "MultiHeadAttention (dropout)"),
    (reference.attention_backward, "dy, kept * weights, v", "dy, weights, v", "MultiHeadAttention (dropout)"),
    (reference.scores_backward, "dq = scale * ", "dq = ", "MultiHeadAttention"),
    (reference.scores_backward, "dscores.swapaxes(-1, -2) @ q", "dscores @ q", "MultiHeadAttention"),
    (reference.scores_backward, "dk.sum(axis=2)", "dk[:, :, 0]", "MultiHeadAttention (grouped, window)"),
    (reference.weighted_sum_backward, ".swapaxes(-1, -2) @ dy", " @ dy", "MultiHeadAttention"),
    (reference.weighted_sum_backward, "dv.sum(axis=2)", "dv[:, :, 0]", "MultiHeadAttention (grouped, window)"),
    (reference.distance_bias_backward, "dscores.sum(axis=0)", "dscores[0]", "MultiHeadAttention (T5)"),
    (reference.rotary_backward, "-sin", "sin", "RotaryEmbedding"),
    (layers.MultiHeadAttention.backward, "self._rotate_backward(self.rotary, dq, dk)", "dq, dk", "MultiHeadAttention (RoPE)"),
    (layers.MultiHeadAttention.backward, "self.position_bias.backward(dbias)", "pass", "MultiHeadAttention (T5)"),
    (layers.MultiHeadAttention._project_backward, "self.q.backward(dq)", "0.0 * self.q.backward(dq)", "MultiHeadAttention (cross)"),
    (layers.MultiHeadAttention._project_backward, "self.kv.backward(dkv)", "0.0 * self.kv.backward(dkv)", "MultiHeadAttention (cross)"),
    (layers.MultiHeadAttention._empty_projections, "self._split_heads(dq)", "self._split_heads(dq)[::-1]", "MultiHeadAttention (cross)"),
    (reference.additive_scores_backward, "1.0 - h * h", "1.0", "AdditiveAttention"),
    (reference.additive_scores_backward, "(v * (1.0", "(1.0 * (1.0", "AdditiveAttention"),
    (reference.additive_scores_backward, 'dv += np.einsum("bts,btsd->d", dscores, h)', "dv += 0.0", "AdditiveAttention"),
    (reference.additive_scores_backward, "dsum.sum(axis=1)", "dsum[:, 0]", "ConcatAttention"),
    (SequenceAttention.backward, "ops.add(dmemory, ", "(", "DotAttention"),
    (SequenceAttention.backward, "ops.add(dmemory, self._keys_backward(dkeys, memory))", "dmemory", "GeneralAttention"),
    (SequenceAttention.backward, "ops.softmax_backward(dweights, weights)", "dweights * weights", "DotAttention"),
    (layers.AdditiveAttention._queries_backward, "self.query.backward(dqueries)", "dqueries @ self.query.weight.value", "AdditiveAttention"),
    (layers.ConcatAttention._map_backward, "columns] += dweight", "columns] = dweight", "ConcatAttention"),
    (layers.RelativePositionBias.backward, "dbias.T", "2 * dbias.T", "MultiHeadAttention (T5)"),
    (reference.rms_norm_backward, " - through_rms", "", "RMSNorm"),
    (reference.rms_norm_backward, "direct - ", "-", "RMSNorm"),
    (reference.rms_norm_backward, "dgamma += (dy * x_hat)", "dgamma += (dy * x)", "RMSNorm"),
    (reference.rms_norm_backward, "else dshortcut + dx", "else dx", "GPT (2 layers, Llama-shaped)"),
    (reference.sum_normalise_backward, "dweights - shared", "dweights", "SimplifiedSelfAttention (sum)"),
    (reference.sum_normalise_backward, "(dweights - shared) / total", "dweights - shared", "CausalSelfAttention (weights)"),
    (reference.mask_future_backward, "mask_future_forward(dy, 0.0)", "dy", "CausalSelfAttention (leaking)"),
    (reference.batch_norm_backward, " - through_mean", "", "BatchNorm"),
    (reference.batch_norm_backward, " - through_variance", "", "BatchNorm"),
    (reference.batch_norm_backward, "dbeta += dy.sum(axis=rows)", "dbeta += dy.mean(axis=rows)", "BatchNorm"),
    (layers.OneHotEmbedding.backward, "self.linear.backward(dy)", "self.linear.backward(2 * dy)", "OneHotEmbedding"),
    (layers.SimplifiedSelfAttention.backward, "dvalues + ", "", "SimplifiedSelfAttention"),
    (layers.SimplifiedSelfAttention.backward, " + dqueries", "", "SimplifiedSelfAttention"),
    (layers.SimplifiedSelfAttention.backward, " + dkeys", "", "SimplifiedSelfAttention"),
    (layers.SelfAttention.backward, "dk = self.tap_grad(\"k\", self.scale * ", "dk = self.tap_grad(\"k\", 1.0 * ", "SelfAttention"),
    (layers.SelfAttention.backward, "self.query.backward(dq)", "0.0 * self.query.backward(dq)", "SelfAttention"),
    (layers.CausalSelfAttention._weights_backward, "self.dropout.backward(dweights)", "dweights", "CausalSelfAttention (dropout)"),
    (layers.CausalSelfAttention._weights_backward, "reference.sum_normalise_backward(dweights, weights, total)", "dweights", "CausalSelfAttention (weights)"),
    (layers.StackedAttention.backward, "self.projection.backward(dy)", "dy", "StackedAttention"),
    (reference.relu_backward, "np.where(x.real > 0, dy, dy.dtype.type(0))", "dy", "ReLU"),
    (reference.relu_backward, "dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)", "dbias += 0.0", "FeedForward (ReLU)"),
    (reference.relu_backward, "x = x if bias is None else x + bias", "pass", "FeedForward (ReLU)"),
    (reference.silu_backward, "sigmoid + x * sigmoid * (1.0 - sigmoid)", "sigmoid", "SiLU"),
    (reference.silu_backward, "sigmoid + x * sigmoid * (1.0 - sigmoid)", "x * sigmoid * (1.0 - sigmoid)", "SiLU"),
    (reference.silu_backward, "dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)", "dbias += 0.0", "FeedForward (SiLU)"),
    (reference.silu_backward, "x = x if bias is None else x + bias", "pass", "FeedForward (SiLU)"),
    (reference.swiglu_backward, "sigmoid + gate * sigmoid * (1.0 - sigmoid)", "sigmoid", "SwiGLU"),
    (reference.swiglu_backward, "sigmoid + gate * sigmoid * (1.0 - sigmoid)", "gate * sigmoid * (1.0 - sigmoid)", "SwiGLU"),
    (reference.swiglu_backward, "dup = dy * gate * sigmoid", "dup = dy * sigmoid", "SwiGLU"),
    (reference.swiglu_backward, "dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)", "dbias += 0.0", "FeedForward (SwiGLU)"),
    (reference.swiglu_backward, "x = x if bias is None else x + bias", "pass", "FeedForward (SwiGLU)"),
    (layers.NoNorm.backward, "ops.add(dshortcut, dy)", "dy", "TransformerBlock (no norm)"),
    (layers.TransformerBlock._backward_post, f"self.feed_forward_dropout.backward(dx)){SUM}", f"self.feed_forward_dropout.backward(dx)){NO_SUM}", "TransformerBlock (post-norm)"),
    (layers.TransformerBlock._backward_post, f"self.attention_dropout.backward(dx))){SUM}", f"self.attention_dropout.backward(dx))){NO_SUM}", "TransformerBlock (post-norm)"),
    (layers.TransformerBlock._backward_post, "self.attention_norm.backward(self.tap_grad(\"residual_middle\", dx))", "dx", "TransformerBlock (post-norm)"),
    (layers.TransformerBlock._backward_post, "self.attention_dropout.backward(dx)", "dx", "TransformerBlock (post-norm)"),
    (reference.dropout_backward, "dy * dropout_mask(dy.shape, p, key, dy.real.dtype)", "dy", "Dropout"),
    (reference.cross_entropy_backward, " - (1.0 - label_smoothing)", "", "CrossEntropy"),
    (reference.cross_entropy_backward, "(1.0 - label_smoothing)", "1.0", "CrossEntropy (label smoothing)"),
    (reference.cross_entropy_backward, "dlogits -= label_smoothing / logits.shape[-1]", "pass", "CrossEntropy (label smoothing)"),
    (reference.cross_entropy_backward, "counted * (dloss", "1 * (dloss", "CrossEntropy"),
    (reference.cross_entropy_backward, "dloss / max(counted.sum(), 1)", "dloss", "CrossEntropy"),
    (layers.PositionEmbedding.backward, ".sum(axis=0)", "[0]", "PositionEmbedding"),
    (layers.MultiHeadAttention._empty_projections, "self._split_heads(dqkv)", "self._split_heads(dqkv)[::-1]", "MultiHeadAttention"),
    (layers.MultiHeadAttention.backward, "self.projection.backward(dy)", "dy", "MultiHeadAttention"),
    (layers.FeedForward.backward, "activation.backward_op(dactivation, product, bias.value, bias.grad)", "dactivation", "FeedForward"),
    (layers.TransformerBlock._backward_pre, "dshortcut=self._round(dy)", "dshortcut=None", "TransformerBlock"),
    (layers.TransformerBlock._backward_pre, "norm_backward(self.attention_norm, dbranch, dshortcut=self._round(dx))", "self.attention_norm.backward(dbranch)", "TransformerBlock"),
    (reference.layer_norm_backward, "else dshortcut + dx", "else dx", "TransformerBlock"),
    (reference.gelu_tanh_backward, "dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)", "dbias += 0.0", "FeedForward"),
    (reference.gelu_tanh_backward, "x = x if bias is None else x + bias", "pass", "FeedForward"),
    (reference.gelu_exact_backward, "dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)", "dbias += 0.0", "FeedForward (exact)"),
    (reference.gelu_exact_backward, "x = x if bias is None else x + bias", "pass", "FeedForward (exact)"),
    (reference.head_cross_entropy_backward, "cross_entropy_backward(dloss,", "cross_entropy_backward(2 * dloss,", "GPT (2 layers, training step)"),
    (reference.head_cross_entropy_backward, "x, weight, dweight=dweight", "0.0 * x, weight, dweight=dweight", "GPT (2 layers, training step)"),
    (ModelWithHead._loss_and_backward, "self.backward_from_hidden(dx)", "pass", "GPT (2 layers, training step)"),
    (models.GPTForClassification._backward, "dx[last] = dlast", "dx[last] = 0.5 * dlast", "GPT (2 layers, classification)"),
    (models.GPTForClassification._backward, "dx += dlanguage", "dx += 0.0 * dlanguage", "GPT (2 layers, classification and language)"),
    (models.GPTForClassification._backward, "self.lm_coef * dloss", "dloss", "GPT (2 layers, classification and language)"),
    (models.GPTForClassification._backward, "self.body.backward_from_hidden(dx)", "pass", "GPT (2 layers, classification)"),
    (models.GPTForClassification._backward, "dlast = self.body.head.backward(dlogits)", "dlast = dlogits @ self.body.head.weight.value", "GPT (2 layers, classification)"),
    (reference.head_log_probs_backward, " + 1.0", "", "GPT (2 layers, preference)"),
    (reference.head_log_probs_backward, "counted * dlog_p", "1 * dlog_p", "GPT (2 layers, preference)"),
    (reference.head_log_probs_backward, "x, weight, dweight=dweight", "0.0 * x, weight, dweight=dweight", "GPT (2 layers, preference)"),
    (reference.preference_loss_backward, "-dloss / margin.size * sigmoid_of_minus", "-dloss / margin.size * (1.0 - sigmoid_of_minus)", "GPT (2 layers, preference)"),
    (reference.preference_loss_backward, "-dloss / margin.size", "-dloss / (margin.size + 1)", "GPT (2 layers, preference)"),
    (models.GPTForPreference.backward, "[dmargin, -dmargin]", "[dmargin, dmargin]", "GPT (2 layers, preference)"),
    (models.GPTForPreference.backward, "self.policy.backward_from_hidden(dx)", "pass", "GPT (2 layers, preference)"),
    (layers.TransformerBlock._backward_pre, "self.attention_dropout.backward(dx)", "dx", "TransformerBlock (dropout)"),
    (layers.TransformerBlock._backward_pre, "self.feed_forward_dropout.backward(dy)", "dy", "TransformerBlock (dropout)"),
    (layers.TransformerBlock._backward_pre, "norm_backward(self.cross_attention_norm, dbranch, dshortcut=self._round(dx))", "self.cross_attention_norm.backward(dbranch)", "TransformerBlock (cross)"),
    (layers.TransformerBlock._backward_pre, "self.cross_attention_dropout.backward(dx)", "dx", "TransformerBlock (cross)"),
    (layers.TransformerBlock._backward_pre, "(dx, dmemory)", "(dx, 0.0 * dmemory)", "TransformerBlock (cross)"),
    (layers.TransformerBlock._backward_post, "dmemory = self.cross_attention.backward(dbranch)\n        dx = self._sum(self._round(dx), dbranch)", "dmemory = self.cross_attention.backward(dbranch)\n        dx = dbranch", "TransformerBlock (cross, post-norm)"),
    (layers.TransformerBlock._backward_post, "self.cross_attention_norm.backward(self.tap_grad(\"residual_cross\", dx))", "dx", "TransformerBlock (cross, post-norm)"),
    (layers.TransformerBlock._backward_post, "self.cross_attention_dropout.backward(dx)", "dx", "TransformerBlock (cross, post-norm)"),
    (layers.TransformerBlock._backward_post, "(dx, dmemory)", "(dx, 0.0 * dmemory)", "TransformerBlock (cross, post-norm)"),
    (layers.Stack.backward, "else dmemory + dpart", "else dpart", "Stack (cross)"),
    (layers.OutputHead.backward, "dweight=dweight", "dweight=dweight.copy()", "OutputHead"),
    (layers.OutputHead.backward, "dweight=dweight", "dweight=dweight.copy()", "GPT (2 layers, tied)"),
    (models.GPT.backward_from_hidden, "self.token_embedding.backward(dx)", "pass", "GPT (2 layers, tied)"),
    (layers.Stack.backward, "reversed(self.blocks[frozen:])", "self.blocks[frozen:]", "GPT (2 layers, tied)"),
    (layers.Stack.backward, "self.final_norm.backward(dy)", "dy", "GPT (2 layers, tied)"),
    (reference.tanh_backward, "1.0 - y * y", "1.0", "Tanh"),
    (reference.tanh_backward, "1.0 - y * y", "1.0 - y", "Pooler"),
    (reference.head_cross_entropy_backward, "dbias=dbias", "dbias=None", "Bert (2 layers, training step)"),
    (layers.OutputHead.backward, "dbias=self._dbias()", "dbias=None", "OutputHead (bias)"),
    (layers.MaskedWordHead._transform_backward, "self.norm.backward(dh)", "dh", "MaskedWordHead"),
    (layers.MaskedWordHead._transform_backward, "self.activation.backward(self.norm.backward(dh))", "self.norm.backward(dh)", "MaskedWordHead"),
    (layers.MaskedWordHead.backward, "self.decoder.backward(dlogits)", "dlogits @ self.decoder.weight.value", "MaskedWordHead"),
    (layers.Pooler.backward, "dx[:, 0] = dfirst", "dx[:, -1] = dfirst", "Pooler"),
    (models.Bert.backward_from_hidden, "self.segment_embedding.backward(dx)", "pass", "Bert (2 layers)"),
    (models.Bert.backward_from_hidden, "dx = self.position_embedding.backward(dx)", "pass", "Bert (2 layers)"),
    (models.Bert.backward_from_hidden, "self.token_embedding.backward(dx)", "pass", "Bert (2 layers)"),
    (models.Bert.backward_from_hidden, "dx = self.embedding_norm.backward(dx)", "pass", "Bert (2 layers)"),
    (models.Bert.backward_from_hidden, "self.embedding_dropout.backward(self.tap_grad(\"embeddings\", dx))", "dx", "Bert (2 layers, untied, dropout)"),
    (models.Bert.loss_and_backward, "self._masked_backward(drows)", "pass", "Bert (2 layers, training step)"),
    (models.BertForClassification._backward, "self.body.pooler.backward(drows)", "np.zeros((2, 5, 12))", "Bert (2 layers, classification)"),
    (models.BertForTokenClassification._backward, "self.body.backward_from_hidden", "self.body.stack.backward", "Bert (2 layers, token classification)"),
    (Counted.rows_backward, "self.places] = drows", "self.places[:1]] = drows[:1]", "Bert (2 layers)"),
    (models.objectives.bert_classification.OnBert.backward, "self.dropout.backward(self.classifier.backward(dlogits))", "self.classifier.backward(dlogits)", "Bert (2 layers, classification)"),
    (reference.low_rank_backward, "lora_b, dweight=dlora_b)", "lora_b)", "LoRALinear"),
    (reference.low_rank_backward, "lora_a, dweight=dlora_a)", "lora_a)", "LoRALinear"),
    (reference.low_rank_backward, "else dshortcut + dx", "else dx", "LoRALinear"),
    (reference.low_rank_backward, "dh = dh * x.real.dtype.type(scaling)", "pass", "LoRALinear"),
    (layers.LoRALinear.backward, "dx = self._map_backward(dy, of_map)", "dx = np.zeros_like(x)", "LoRALinear"),
    (layers.LoRALinear.backward, "self.dropout.backward(ddropped)", "ddropped", "LoRALinear (dropout)"),
    (models.GPT.backward_from_hidden, "self.embedding_dropout.backward(dx)", "dx", "GPT (2 layers, dropout)"),
    (models.RNNEncoderDecoder.backward_from_hidden, "self._one_by_one(dstates)", "None", "RNNEncoderDecoder"),
    (models.RNNEncoderDecoder.backward_from_hidden, "self.source.backward(dx)", "pass", "RNNEncoderDecoder"),
    (models.RNNEncoderDecoder.backward_from_hidden, "self.target.backward(dx)", "pass", "RNNEncoderDecoder"),
    (models.RNNEncoderDecoder._one_by_one, ".swapaxes(1, 2)", ".swapaxes(1, 2)[:, ::-1]", "RNNEncoderDecoder (both directions, dropout)"),
    (models.RNNEncoderDecoder._read_backward, "self.hidden_dropout.backward(dx)", "dx", "RNNEncoderDecoder (both directions, dropout)"),
    (models.RNNAttention._read_backward, "1.0 - hidden * hidden", "1.0", "RNNAttention"),
    (models.RNNAttention._read_backward, "dh + dqueries", "dh", "RNNAttention (general)"),
    (models.RNNAttention._read_backward, "dh + dqueries", "dqueries", "RNNAttention (concat)"),
    (models.RNNAttention._read_backward, "dh + dqueries, dvalues", "dh + dqueries, 0.0 * dvalues", "RNNAttention (dot, dropout)"),
    (models.Transformer.backward_from_hidden, "self.encoder.backward(dmemory)", "dmemory", "Transformer"),
    (models.Transformer.backward_from_hidden, "self.target.backward(dx)", "pass", "Transformer (RoPE)"),
    (TokenInput.backward, "self.scale * dx", "dx", "Transformer"),
    (TokenInput.backward, "self.positions.backward(dx)", "dx", "Transformer (pre-norm, dropout)"),
    (TokenInput.backward, "self.dropout.backward(", "(", "Transformer (pre-norm, dropout)"),
    (reference.rnn_backward, 'there[t] * dy[t] + dh', 'there[t] * dy[t]', 'RNN'),
    (reference.rnn_backward, 'there[t] * dy[t] + dh', 'dy[t] + dh', 'RNN'),
    (reference.rnn_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dbias=dbias_ih', 'RNN'),
    (reference.rnn_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dbias=dbias_hh', 'RNN'),
    (reference.rnn_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dweight=dweight_hh', 'RNN'),
    (reference.rnn_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dweight=dweight_ih', 'RNN'),
    (reference.rnn_backward, 'before(h, reverse), weight_hh', 'h[:-1], weight_hh', 'RNN (2 layers, both directions, dropout)'),
    (reference.gru_backward, 'there[t] * dy[t] + dh', 'there[t] * dy[t]', 'GRU'),
    (reference.gru_backward, 'there[t] * dy[t] + dh', 'dy[t] + dh', 'GRU'),
    (reference.gru_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dbias=dbias_ih', 'GRU'),
    (reference.gru_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dbias=dbias_hh', 'GRU'),
    (reference.gru_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dweight=dweight_hh', 'GRU'),
    (reference.gru_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dweight=dweight_ih', 'GRU'),
    (reference.gru_backward, 'before(h, reverse), weight_hh', 'h[:-1], weight_hh', 'GRU (2 layers, both directions, dropout)'),
    (reference.lstm_backward, 'there[t] * dy[t] + dh', 'there[t] * dy[t]', 'LSTM'),
    (reference.lstm_backward, 'there[t] * dy[t] + dh', 'dy[t] + dh', 'LSTM'),
    (reference.lstm_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dbias=dbias_ih', 'LSTM'),
    (reference.lstm_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dbias=dbias_hh', 'LSTM'),
    (reference.lstm_backward, 'dweight=dweight_hh, dbias=dbias_hh', 'dweight=dweight_hh', 'LSTM'),
    (reference.lstm_backward, 'dweight=dweight_ih, dbias=dbias_ih', 'dweight=dweight_ih', 'LSTM'),
    (reference.lstm_backward, 'before(h, reverse), weight_hh', 'h[:-1], weight_hh', 'LSTM (2 layers, both directions, dropout)'),
    (reference.rnn_backward, 'np.where(there[t], 0.0, dh) + ', '', 'RNN'),
    (reference.rnn_backward, ' + da[t] @ weight_hh', '', 'RNN'),
    (reference.rnn_backward, '1.0 - h[is_now] * h[is_now]', '1.0', 'RNN'),
    (reference.rnn_backward, 'h[is_now].real > 0', '1.0', 'RNN (ReLU)'),
    (reference.lstm_backward, 'dc + dh * o * (1.0 - tanh_c * tanh_c)', 'dc', 'LSTM'),
    (reference.lstm_backward, 'dc + dh * o * (1.0 - tanh_c * tanh_c)', 'dh * o * (1.0 - tanh_c * tanh_c)', 'LSTM'),
    (reference.lstm_backward, '(1.0 - tanh_c * tanh_c)', '1.0', 'LSTM'),
    (reference.lstm_backward, 'do = dh * tanh_c', 'do = dh', 'LSTM'),
    (reference.lstm_backward, 'dc * g, ', 'dc, ', 'LSTM'),
    (reference.lstm_backward, 'dc * c[was]', '0.0 * dc', 'LSTM'),
    (reference.lstm_backward, 'dc * i, do', 'dc, do', 'LSTM'),
    (reference.lstm_backward, 'dc * f, dc)', 'dc, dc)', 'LSTM'),
    (reference.lstm_backward, 'np.where(there[t], dc * f, dc)', 'dc * f', 'LSTM'),
    (reference.lstm_backward, ' * i * (1.0 - i)', ' * i', 'LSTM'),
    (reference.lstm_backward, ' * f * (1.0 - f)', ' * f', 'LSTM'),
    (reference.lstm_backward, ' * (1.0 - g * g)', '', 'LSTM'),
    (reference.lstm_backward, ' * o * (1.0 - o)', ' * o', 'LSTM'),
    (reference.lstm_backward, 'np.where(there[t], 0.0, dh) + ', '', 'LSTM'),
    (reference.lstm_backward, ' + da[t] @ weight_hh', '', 'LSTM'),
    (reference.gru_backward, 'dh * (1.0 - z)', 'dh', 'GRU'),
    (reference.gru_backward, 'dn * (1.0 - n * n)', 'dn', 'GRU'),
    (reference.gru_backward, 'da_n * recalled[t]', 'da_n', 'GRU'),
    (reference.gru_backward, '(h[was] - n)', 'h[was]', 'GRU'),
    (reference.gru_backward, '(h[was] - n)', '(-n)', 'GRU'),
    (reference.gru_backward, 'dr * r * (1.0 - r)', 'dr * r', 'GRU'),
    (reference.gru_backward, 'dz * z * (1.0 - z)', 'dz * z', 'GRU'),
    (reference.gru_backward, 'da_n * r]', 'da_n]', 'GRU'),
    (reference.gru_backward, 'np.where(there[t], dh * z, dh)', 'np.where(there[t], 0.0, dh)', 'GRU'),
    (reference.gru_backward, 'np.where(there[t], dh * z, dh)', 'dh * z', 'GRU'),
    (reference.gru_backward, ' + db[t] @ weight_hh', '', 'GRU'),
    (Recurrent.backward, 'ops.add(*dinputs)', 'dinputs[0]', 'LSTM (2 layers, both directions, dropout)'),
    (Recurrent.backward, 'self.dropouts[layer - 1].backward(dread)', 'dread', 'LSTM (2 layers, both directions, dropout)'),
    (Recurrent.backward, 'states[place] = gradient', 'states[place] = 0.0', 'LSTM'),
    (reference.causal_conv1d_backward, 'dx[:, : time - shift] += ', 'dx[:, : time - shift] = ', 'CausalConv1d'),
    (reference.causal_conv1d_backward, 'dweight[:, :, j] += np', 'dweight[:, :, j] += 0.0 * np', 'CausalConv1d'),
    (reference.causal_conv1d_backward, '(kernel - 1 - j) * dilation', 'kernel - 1 - j', 'CausalConv1d (dilation)'),
    (reference.causal_conv1d_backward, 'dy.sum(axis=(0, 1))', 'dy[0].sum(axis=0)', 'CausalConv1d'),
    (reference.glu_backward, 'dvalue = dy * sigmoid', 'dvalue = dy', 'GLU'),
    (reference.glu_backward, 'sigmoid * (1.0 - sigmoid)', 'sigmoid', 'GLU'),
    (reference.glu_backward, 'dy * value * sigmoid', 'dy * sigmoid', 'GLU'),
    (layers.GatedConv1d.backward, "self._halves(dgates, self.tap_grad)", "0.5 * self._halves(dgates, self.tap_grad)", "GatedConv1d"),
    (models.RecurrentLM.backward_from_hidden, "self.hidden_dropout.backward(self.tap_grad(\"hidden\", dx))", "dx", "GRULM"),
    (UnboundedModel._embed_backward, "self.embedding_dropout.backward(self.tap_grad(\"embeddings\", dx))", "dx", "GRULM"),
    (UnboundedModel._embed_backward, "self.token_embedding.backward(dx)", "pass", "LSTMLM"),
    (UnboundedModel._embed_backward, "self.token_embedding.backward(dx)", "pass", "ConvolutionalLM"),
    (models.RecurrentLM.backward_from_hidden, "self.network.backward(dy)", "(dy, None)", "RNNLM"),
    (models.ConvolutionalLM.backward_from_hidden, "ops.add(dx, convolution.backward(dropout.backward(dx)))", "convolution.backward(dropout.backward(dx))", "ConvolutionalLM"),
    (models.ConvolutionalLM.backward_from_hidden, "dropout.backward(dx))", "dx)", "ConvolutionalLM (dropout)"),
    (models.ConvolutionalLM.backward_from_hidden, "reversed([*enumerate(self._layers())])", "enumerate(self._layers())", "ConvolutionalLM (dropout)"),
    (models.ConvolutionalLM.backward_from_hidden, "self._embed_backward(dx)", "pass", "ConvolutionalLM"),
    (models.RecurrentLM.backward_from_hidden, "self._embed_backward(dx)", "pass", "GRULM"),
    # right numbers, but not what else a backward or a forward promises
    (layers.Linear._map_backward, "overwrite=overwrite", "overwrite=True", "Linear"),
    (layers.Embedding.backward, "ops.embedding_backward", "self.weight.grad[...] = 0; ops.embedding_backward", "Embedding"),
    (layers.RMSNorm.forward, "self.keep(OfRowSizes(x, rstd))", "self.keep(OfRowSizes(x.copy(), rstd)); x *= rstd[..., None] if rstd.ndim < x.ndim else rstd", "RMSNorm"),
    (layers.FeedForward.backward, "return self.up.backward(self.tap_grad(\"hidden\", dhidden))", "dx = self.up.backward(dhidden); dy *= 0.5; return dx", "FeedForward"),
    (layers.activations.Activation.backward_op, "return getattr(ops, f\"{self.op}_backward\")(dy, x, bias, dbias=dbias)", "dx = getattr(ops, f\"{self.op}_backward\")(dy, x.copy(), bias, dbias=dbias); x *= 0.5; return dx", "FeedForward"),
    (layers.RecomputingBlock.backward, "progress.restore()", "pass", "RecomputingBlock"),
    (layers.RecomputingBlock.backward, "return gradients", "return gradients[0], 0.0 * gradients[1]", "RecomputingBlock (cross)"),
    (layers.RelativePositionBias.backward, "ops.embedding_backward(dbias.T, buckets, dweight=dweight)", "self.weight.grad[buckets] += dbias.T", "RelativePositionBias"),
]  # fmt: skip


LONG = ("Bert", "Transformer", "RNNAttention", "RNNEncoderDecoder")  # models of many layers


@pytest.mark.parametrize(
    ("function", "old", "new", "example"),
    [
        pytest.param(
            *mutant, marks=pytest.mark.slow if mutant[-1].partition(" (")[0] in LONG else []
        )
        for mutant in MUTANTS
    ],
    ids=[f"{function.__qualname__}: {old} -> {new}" for function, old, new, _ in MUTANTS],
)
@pytest.mark.parametrize("method", [pytest.param("central", marks=pytest.mark.slow), "complex"])
def test_a_dropped_term_fails_the_gradient_check(function, old, new, example, method):
    with mutated(function, old, new):
        (_, report), *_ = check_suite(method, [example])
        assert not report.passed
        with pytest.raises(AssertionError, match=r"is wrong|in place|overwrites"):
            report.raise_if_failed()


def test_no_planted_bug_is_lost():
    assert len(MUTANTS) >= 104 + 5


@pytest.mark.parametrize("name", [name for name in reference.__all__ if name.endswith("_backward")])
def test_every_reference_backward_has_a_mutant(name):
    tested = {function.__name__ for function, *_ in MUTANTS}
    if name in ("softmax_backward", "causal_scores_backward"):
        # tests/layers/test_known_bugs.py, where the attention is listened to; tests/ops/test_masks.py
        return
    assert name in tested


COMPARED = [
    ("gelu_tanh_backward", "gate + slope", "gate"),
    ("gelu_exact_backward", "gate + x * density", "gate"),
    ("layer_norm_backward", " - through_variance", ""),
    ("attention_backward", "dweights - shared", "dweights"),
    ("cross_entropy_backward", " - (1.0 - label_smoothing)", ""),
    ("embedding_backward", "np.add.at(dweight, token_ids, dy)", "dweight[token_ids] += dy"),
    ("dropout_backward", "dy * dropout_mask(dy.shape, p, key, dy.real.dtype)", "dy"),
    ("adamw_update", "1.0 - lr * weight_decay", "1.0"),
    ("adam_update", " + weight_decay * value", ""),
]


@pytest.mark.parametrize(("name", "old", "new"), COMPARED)
def test_a_difference_between_the_backends_is_noticed(name, old, new):
    x, dy = normal(0, (2, 3, 4), np.float64)  # 3 rows of 4
    vector, ids = np.ones(4), np.array([0, 1, 1])
    q = normal(1, (4, 1, 2, 5, 3), np.float64)
    _, mean, rstd = reference.layer_norm_forward(x, vector, vector, 1e-5)
    _, lse = reference.cross_entropy_forward(x, ids)
    attended, row_lse = reference.attention_forward(*q[:3], scale=0.5)
    update = (x.copy(), dy, x.copy(), x * x, 3, 0.1, 0.9, 0.99, 1e-8, 0.3)
    arguments = {
        "gelu_tanh_backward": ((dy, x), ()),
        "gelu_exact_backward": ((dy, x), ()),
        "layer_norm_backward": ((dy, x, vector, mean, rstd), ()),
        "attention_backward": ((q[3], *q[:3], attended, row_lse), (), {"scale": 0.5}),
        "cross_entropy_backward": ((1.0, x, ids, lse), ()),
        "embedding_backward": ((dy, ids), ("dweight",), {"dweight": np.zeros((2, 4))}),
        "dropout_backward": ((dy, 0.5, ops.DropoutKey(0, 0, 0)), ()),
        "adamw_update": (update, (0,)),
        "adam_update": (update, (0,)),
    }
    given, in_place, *choices = arguments[name]
    choices = {"in_place": in_place, **dict(*choices)}
    assert_same(name, np.float64, *given, **choices)
    with mutated(getattr(reference, name), old, new), pytest.raises(AssertionError, match=name):
        assert_same(name, np.float64, *given, **choices)
