"""The optimizer."""

from typing import Any

from pipeline.model.backend import keras, tf


@keras.saving.register_keras_serializable(package="tandem")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with the same numbers and state, a variable's update being one kernel and not fifteen.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization".
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move a variable and its two moments in place. gradient: dense, of the variable's shape."""
        if self.amsgrad:
            raise NotImplementedError("this Adam has no amsgrad: use keras.optimizers.Adam")
        step = tf.cast(self.iterations.value + 1, tf.float32)
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,  # Keras hands over tensorflow's variable
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
